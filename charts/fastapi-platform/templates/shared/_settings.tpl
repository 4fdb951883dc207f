{{/* The settings that pods get, by name: what the user gave, and what the chart computes. */}}

{{/* Settings that the chart computes, with the value to set instead. */}}
{{- define "platform.computedSettings" -}}
ENVIRONMENT: environment
VERSION: image.tag
HOST: nothing, for pods listen on every address
PORT: api.service.port
METRICS_PORT: nothing, for metrics are at 9090
WEB_CONCURRENCY: api.replicas
GRACEFUL_TIMEOUT: api.shutdown.gracefulTimeoutSeconds
DRAIN_SECONDS: api.shutdown.drainSeconds
KEEP_ALIVE: api.keepAliveSeconds
DATABASE_POOL_SIZE: api.database.poolSize
DATABASE_AUTOCOMMIT_POOL_SIZE: api.database.autocommitPoolSize
DATABASE_MAX_CONNECTIONS: database.maxConnections
WORKER_HEARTBEAT_FILE: nothing, for probes know where it is
WORKER_SOFT_SHUTDOWN_SECONDS: workers.<name>.gracePeriodSeconds
BROKER_VISIBILITY_TIMEOUT: broker.visibilityTimeoutSeconds
{{- end }}

{{/* Settings that are secrets, with the place where they belong. */}}
{{- define "platform.secretSettings" -}}
DATABASE_URL: secrets.app
MIGRATION_DATABASE_URL: secrets.migration
SECRET_KEY: secrets.app
SECRET_KEY_FALLBACKS: secrets.app
REDIS_URL: secrets.app
CELERY_BROKER_URL: secrets.app
CACHE_URL: secrets.app
S3_ACCESS_KEY_ID: secrets.app
S3_SECRET_ACCESS_KEY: secrets.app
SMTP_PASSWORD: secrets.app
SENTRY_DSN: secrets.app
{{- end }}

{{/* A list as the service reads it. */}}
{{- define "platform.commaSeparated" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Host names that the service answers to: those given, those of its routes, and its own inside the cluster. */}}
{{- define "platform.allowedHosts" -}}
{{- $own := include "platform.componentName" (dict "root" . "component" "api") }}
{{- $hosts := list $own (printf "%s.%s" $own .Release.Namespace) (printf "%s.%s.svc" $own .Release.Namespace) }}
{{- if .Values.ingress.enabled }}{{ $hosts = concat .Values.ingress.hosts $hosts }}{{ end }}
{{- if .Values.httpRoute.enabled }}{{ $hosts = concat .Values.httpRoute.hostnames $hosts }}{{ end }}
{{- with .Values.config.ALLOWED_HOSTS }}{{ $hosts = concat (include "platform.commaSeparated" . | splitList ",") $hosts }}{{ end }}
{{- $hosts | uniq | join "," }}
{{- end }}

{{/* Where clients reach the service, as far as its routes tell. */}}
{{- define "platform.publicUrl" -}}
{{- $encrypted := or .Values.ingress.tls (eq .Values.ingress.className "alb") }}
{{- if .Values.config.PUBLIC_URL }}
{{- .Values.config.PUBLIC_URL }}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts }}
{{- printf "%s://%s" (ternary "https" "http" (not (empty $encrypted))) (first .Values.ingress.hosts) }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames }}
{{- printf "https://%s" (first .Values.httpRoute.hostnames) }}
{{- end }}
{{- end }}

{{/* The data of the ConfigMap that every pod but the migration's reads. */}}
{{- define "platform.settings" -}}
{{- $settings := dict }}
{{- range $name, $value := .Values.config }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $settings $name (kindIs "float64" $value | ternary ($value | toJson) (include "platform.commaSeparated" $value)) }}
{{- end }}
{{- end }}
{{- $_ := set $settings "ALLOWED_HOSTS" (include "platform.allowedHosts" .) }}
{{- with include "platform.publicUrl" . }}{{ $_ := set $settings "PUBLIC_URL" . }}{{ end }}
{{- if and .Values.networkPolicy.ingressController.cidrs (not (hasKey .Values.config "TRUSTED_PROXIES")) }}
{{- $_ := set $settings "TRUSTED_PROXIES" (join "," .Values.networkPolicy.ingressController.cidrs) }}
{{- end }}
{{- $_ := set $settings "ENVIRONMENT" .Values.environment }}
{{- $_ := set $settings "VERSION" (include "platform.version" .) }}
{{- $_ := set $settings "DATABASE_MAX_CONNECTIONS" (sub .Values.database.maxConnections .Values.database.reservedConnections | toString) }}
{{- $_ := set $settings "BROKER_VISIBILITY_TIMEOUT" (int64 .Values.broker.visibilityTimeoutSeconds | toString) }}
{{- toYaml $settings }}
{{- end }}

{{/* Where secrets of one kind come from: dict root source kind. Several words where the values contradict each other. */}}
{{- define "platform.secretSources" -}}
{{- $found := list }}
{{- if .source.existingSecret }}{{ $found = append $found "existingSecret" }}{{ end }}
{{- if .source.remoteKey }}{{ $found = append $found "remoteKey" }}{{ end }}
{{- if .source.inline }}{{ $found = append $found "inline" }}{{ end }}
{{- join " " $found }}
{{- end }}

{{/* Name of the Secret with the application's settings. */}}
{{- define "platform.appSecret" -}}
{{- default (printf "%s-app" (include "platform.fullname" .)) .Values.secrets.app.existingSecret }}
{{- end }}

{{/* Name of the Secret with the migration's settings. */}}
{{- define "platform.migrationSecret" -}}
{{- if .Values.postgresql.enabled }}
{{- printf "%s-postgresql-owner" (include "platform.fullname" .) }}
{{- else }}
{{- default (printf "%s-migration" (include "platform.fullname" .)) .Values.secrets.migration.existingSecret }}
{{- end }}
{{- end }}

{{/* The keys of the application's Secret, where the chart makes it. */}}
{{- define "platform.inlineSecrets" -}}
{{- $keys := deepCopy .Values.secrets.app.inline }}
{{- if .Values.postgresql.enabled }}
{{- $_ := set $keys "DATABASE_URL" (printf "postgresql://app:%s@%s-postgresql:5432/platform" .Values.postgresql.password (include "platform.fullname" .)) }}
{{- end }}
{{- if .Values.valkey.enabled }}
{{- $_ := set $keys "REDIS_URL" (printf "redis://:%s@%s-valkey:6379/0" .Values.valkey.password (include "platform.fullname" .)) }}
{{- end }}
{{- range $name, $value := $keys }}
{{- $_ := set $keys $name (include "platform.commaSeparated" $value) }}
{{- end }}
{{- toYaml $keys }}
{{- end }}
