{{- define "platform.api.pod" -}}
{{- $api := .Values.api }}
{{- $env := list
  (dict "name" "HOST" "value" "0.0.0.0")
  (dict "name" "PORT" "value" "8000")
  (dict "name" "METRICS_PORT" "value" "9090")
  (dict "name" "WEB_CONCURRENCY" "value" "1")
  (dict "name" "DATABASE_POOL_SIZE" "value" ($api.database.poolSize | toString))
  (dict "name" "DATABASE_AUTOCOMMIT_POOL_SIZE" "value" ($api.database.autocommitPoolSize | toString))
  (dict "name" "DRAIN_SECONDS" "value" ($api.shutdown.drainSeconds | toString))
  (dict "name" "GRACEFUL_TIMEOUT" "value" ($api.shutdown.gracefulTimeoutSeconds | toString))
  (dict "name" "KEEP_ALIVE" "value" ($api.keepAliveSeconds | toString))
}}
{{- include "platform.pod" (dict
  "root" .
  "component" "api"
  "values" $api
  "command" (list "gunicorn" "--config" "python:app.core.gunicorn" "app.main:create_app()")
  "env" $env
  "ports" (list (dict "name" "http" "containerPort" 8000) (dict "name" "metrics" "containerPort" 9090))
  "probes" (include "platform.httpProbes" (dict "probes" $api.probes) | fromYaml)
  "lifecycle" (dict "preStop" (dict "sleep" (dict "seconds" $api.shutdown.preStopSeconds)))
  "grace" $api.shutdown.gracePeriodSeconds
  "account" (include "platform.serviceAccountName" (dict "root" . "component" "api" "values" $api))
  "secret" (include "platform.appSecret" .)
  "settings" true
  "waits" true
) }}
{{- end }}
