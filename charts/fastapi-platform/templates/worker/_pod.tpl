{{/* dict root name worker */}}
{{- define "platform.worker.pod" -}}
{{- $component := printf "worker-%s" .name }}
{{- $worker := .worker }}
{{- $env := list
  (dict "name" "METRICS_PORT" "value" "9090")
  (dict "name" "REMAP_SIGTERM" "value" "SIGQUIT")
  (dict "name" "WORKER_HEARTBEAT_FILE" "value" "/tmp/heartbeat")
  (dict "name" "WORKER_SOFT_SHUTDOWN_SECONDS" "value" (sub $worker.gracePeriodSeconds 15 | toString))
}}
{{- include "platform.pod" (dict
  "root" .root
  "component" $component
  "values" $worker
  "command" (list
    "celery" "--quiet" "--app" "app.core.celery_app" "worker"
    "--queues" (join "," $worker.queues)
    "--concurrency" ($worker.concurrency | toString)
    "--hostname" (printf "%s@%%h" .name))
  "env" $env
  "ports" (list (dict "name" "metrics" "containerPort" 9090))
  "probes" (include "platform.heartbeatProbes" (dict "probes" $worker.probes "seconds" $worker.heartbeatSeconds) | fromYaml)
  "grace" $worker.gracePeriodSeconds
  "account" (include "platform.serviceAccountName" (dict "root" .root "component" $component "values" $worker))
  "secret" (include "platform.appSecret" .root)
  "settings" true
  "waits" true
) }}
{{- end }}
