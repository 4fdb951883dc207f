{{/*
What the values must not say together. Every problem is told at once, each with what to change.
Each definition below prints one problem a line, or nothing.
*/}}
{{- define "platform.validate" -}}
{{- $checks := list "renamed" "settings" "secrets" "shutdown" "broker" "connections" "disruption" "migration" "routes" "databases" "apis" }}
{{- $problems := list }}
{{- range $checks }}
{{- range include (printf "platform.check.%s" .) $ | splitList "\n" }}
{{- with trim . }}{{ $problems = append $problems . }}{{ end }}
{{- end }}
{{- end }}
{{- if $problems }}
{{- fail (printf "\n\nThe values cannot be installed:\n  - %s\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end }}

{{/* Names that other charts have, and what they are called here. */}}
{{- define "platform.renamed" -}}
replicaCount: api.replicas
autoscaling: api.autoscaling
resources: api.resources
service: api.service
serviceAccount: api.serviceAccount
env: config
imagePullSecrets: image.pullSecrets
podAnnotations: pods.annotations
podLabels: pods.labels
nodeSelector: pods.nodeSelector
tolerations: pods.tolerations
affinity: pods.affinity
redis: valkey
{{- end }}

{{- define "platform.check.renamed" -}}
{{- range $old, $new := include "platform.renamed" . | fromYaml }}
{{- if hasKey $.Values $old }}
{{ $old }} is called {{ $new }} here; move the value there.
{{- end }}
{{- end }}
{{- end }}

{{- define "platform.check.settings" -}}
{{- range $name, $value := include "platform.computedSettings" . | fromYaml }}
{{- if hasKey $.Values.config $name }}
config.{{ $name }} is computed by the chart; remove it and set {{ $value }}.
{{- end }}
{{- end }}
{{- range $name, $place := include "platform.secretSettings" . | fromYaml }}
{{- if hasKey $.Values.config $name }}
config.{{ $name }} is a secret, and config is readable by everybody who sees the release; move it to {{ $place }}.
{{- end }}
{{- end }}
{{- if and (ne .Values.environment "local") (not (include "platform.publicUrl" .)) }}
config.PUBLIC_URL is missing, and no route tells it; set it to the address that clients use, such as https://api.example.com.
{{- end }}
{{- end }}

{{- define "platform.check.secrets" -}}
{{- $kinds := list "app" }}
{{- if and .Values.migrate.enabled (not .Values.postgresql.enabled) }}{{ $kinds = append $kinds "migration" }}{{ end }}
{{- range $kind := $kinds }}
{{- $source := index $.Values.secrets $kind }}
{{- $found := include "platform.secretSources" (dict "source" $source) | splitList " " | compact }}
{{- if not $found }}
secrets.{{ $kind }} has no source; name a Secret that exists (existingSecret) or an entry of the secret store (remoteKey).
{{- else if gt (len $found) 1 }}
secrets.{{ $kind }} has {{ len $found }} sources ({{ join ", " $found }}); keep one and remove the others.
{{- end }}
{{- if and $source.remoteKey (not $.Values.secrets.store.name) }}
secrets.{{ $kind }}.remoteKey needs secrets.store.name, the name of the SecretStore or ClusterSecretStore.
{{- end }}
{{- if and $source.inline (eq $.Values.environment "production") }}
secrets.{{ $kind }}.inline would keep secrets in the release's history; in production use existingSecret or remoteKey.
{{- end }}
{{- end }}
{{- if and .Values.migrate.enabled .Values.postgresql.enabled (include "platform.secretSources" (dict "source" .Values.secrets.migration)) }}
secrets.migration contradicts postgresql.enabled, which brings an owner of its own; remove one of the two.
{{- end }}
{{- if .Values.secrets.app.inline }}
{{- $given := .Values.secrets.app.inline }}
{{- $needed := dict "SECRET_KEY" false "DATABASE_URL" .Values.postgresql.enabled "REDIS_URL" .Values.valkey.enabled }}
{{- range $name, $made := $needed }}
{{- if and (not $made) (not (hasKey $given $name)) }}
secrets.app.inline.{{ $name }} is missing; the service does not start without it.
{{- else if and $made (hasKey $given $name) }}
secrets.app.inline.{{ $name }} contradicts {{ ternary "postgresql" "valkey" (eq $name "DATABASE_URL") }}.enabled, which sets it; remove one of the two.
{{- end }}
{{- end }}
{{- else if or .Values.postgresql.enabled .Values.valkey.enabled }}
postgresql.enabled and valkey.enabled put their addresses into the chart's own Secret; set secrets.app.inline.SECRET_KEY instead of naming another.
{{- end }}
{{- end }}

{{- define "platform.check.shutdown" -}}
{{- $shutdown := .Values.api.shutdown }}
{{- if le (int .Values.api.keepAliveSeconds) (int .Values.api.loadBalancerIdleTimeoutSeconds) }}
api.keepAliveSeconds ({{ .Values.api.keepAliveSeconds }}) must be above api.loadBalancerIdleTimeoutSeconds ({{ .Values.api.loadBalancerIdleTimeoutSeconds }}), or the load balancer sends requests on connections that pods are closing; raise the first or lower the second.
{{- end }}
{{- if le (int $shutdown.preStopSeconds) (int $shutdown.deregistrationDelaySeconds) }}
api.shutdown.preStopSeconds ({{ $shutdown.preStopSeconds }}) must be above deregistrationDelaySeconds ({{ $shutdown.deregistrationDelaySeconds }}), or pods stop while the load balancer still sends to them; raise the first or lower the second.
{{- end }}
{{- $needed := add $shutdown.preStopSeconds $shutdown.drainSeconds $shutdown.gracefulTimeoutSeconds 5 }}
{{- if gt $needed (int64 $shutdown.gracePeriodSeconds) }}
api.shutdown.gracePeriodSeconds ({{ $shutdown.gracePeriodSeconds }}) must be {{ $needed }} or more: preStopSeconds ({{ $shutdown.preStopSeconds }}) + drainSeconds ({{ $shutdown.drainSeconds }}) + gracefulTimeoutSeconds ({{ $shutdown.gracefulTimeoutSeconds }}) + 5; raise it or shorten one of the three.
{{- end }}
{{- range $name := include "platform.workers" . | splitList "," | compact }}
{{- $worker := include "platform.worker" (dict "root" $ "name" $name) | fromYaml }}
{{- if le (int $worker.gracePeriodSeconds) 15 }}
workers.{{ $name }}.gracePeriodSeconds ({{ $worker.gracePeriodSeconds }}) must be above 15: tasks are given back 15 seconds before its end; raise it.
{{- end }}
{{- end }}
{{- end }}

{{- define "platform.check.broker" -}}
{{- range $name := include "platform.workers" . | splitList "," | compact }}
{{- $worker := include "platform.worker" (dict "root" $ "name" $name) | fromYaml }}
{{- $longest := add $worker.longestTaskSeconds $worker.gracePeriodSeconds }}
{{- if le (int64 $.Values.broker.visibilityTimeoutSeconds) $longest }}
broker.visibilityTimeoutSeconds ({{ int64 $.Values.broker.visibilityTimeoutSeconds }}) must be above {{ $longest }}: workers.{{ $name }}'s longestTaskSeconds ({{ $worker.longestTaskSeconds }}) + gracePeriodSeconds ({{ $worker.gracePeriodSeconds }}), or a running task is handed to a second worker; raise it.
{{- end }}
{{- end }}
{{- end }}

{{/* Pods at most, those of a rollout included: dict most surge (a number, or a percentage rounded up). */}}
{{- define "platform.mostPods" -}}
{{- $surge := toString .surge }}
{{- if hasSuffix "%" $surge }}
{{- $surge = divf (mulf .most (trimSuffix "%" $surge | float64)) 100 | ceil | int }}
{{- end }}
{{- add .most (int $surge) }}
{{- end }}

{{/*
Connections that everything together may open, as YAML: a line a component, and the total. Of the code: a worker's relay opens 7
(two pools of 3, and one that listens), each of its children 4 (two pools of 2); the migration and `doctor` one each.
*/}}
{{- define "platform.connections" -}}
{{- $lines := dict }}
{{- $api := .Values.api }}
{{- $pods := include "platform.mostPods" (dict "most" (ternary $api.autoscaling.maxReplicas $api.replicas $api.autoscaling.enabled) "surge" $api.rollout.maxSurge) }}
{{- $_ := set $lines "api" (mul $pods (add $api.database.poolSize $api.database.autocommitPoolSize)) }}
{{- range $name := include "platform.workers" . | splitList "," | compact }}
{{- $worker := include "platform.worker" (dict "root" $ "name" $name) | fromYaml }}
{{- $pods := include "platform.mostPods" (dict "most" (ternary $worker.replicas $worker.autoscaling.maxReplicas (eq $worker.autoscaling.kind "none")) "surge" 1) }}
{{- $_ := set $lines (printf "worker-%s" $name) (mul $pods (add 7 (mul 4 $worker.concurrency))) }}
{{- end }}
{{- $_ := set $lines "migrate" (ternary 1 0 .Values.migrate.enabled) }}
{{- $_ := set $lines "test" (ternary 1 0 .Values.tests.enabled) }}
{{- $total := 0 }}
{{- range $lines }}{{ $total = add $total . }}{{ end }}
{{- toYaml (dict "lines" $lines "total" $total) }}
{{- end }}

{{- define "platform.check.connections" -}}
{{- $budget := sub .Values.database.maxConnections .Values.database.reservedConnections }}
{{- $connections := include "platform.connections" . | fromYaml }}
{{- if gt (int64 $connections.total) $budget }}
{{- $parts := list }}
{{- range $component, $count := $connections.lines }}{{ $parts = append $parts (printf "%s %d" $component (int $count)) }}{{ end }}
database.maxConnections ({{ .Values.database.maxConnections }}) less reservedConnections ({{ .Values.database.reservedConnections }}) leaves {{ $budget }} connections, and the pods may open {{ $connections.total }} ({{ join ", " $parts }}); lower pools, replicas or concurrency, or take a larger database.
{{- end }}
{{- end }}

{{- define "platform.check.disruption" -}}
{{- $api := .Values.api }}
{{- $least := ternary $api.autoscaling.minReplicas $api.replicas $api.autoscaling.enabled }}
{{- if and $api.disruptionBudget.enabled (lt (int $least) 2) (ne .Values.environment "local") }}
{{ ternary "api.autoscaling.minReplicas" "api.replicas" $api.autoscaling.enabled }} is {{ $least }}: a node drain would take the only pod that the budget protects; have 2 or more, or switch api.disruptionBudget.enabled off.
{{- end }}
{{- if and $api.autoscaling.enabled (gt (int $api.autoscaling.minReplicas) (int $api.autoscaling.maxReplicas)) }}
api.autoscaling.minReplicas ({{ $api.autoscaling.minReplicas }}) is above maxReplicas ({{ $api.autoscaling.maxReplicas }}); lower the first or raise the second.
{{- end }}
{{- range $name := include "platform.workers" . | splitList "," | compact }}
{{- $autoscaling := (include "platform.worker" (dict "root" $ "name" $name) | fromYaml).autoscaling }}
{{- if and (ne $autoscaling.kind "none") (gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas)) }}
workers.{{ $name }}.autoscaling.minReplicas ({{ $autoscaling.minReplicas }}) is above maxReplicas ({{ $autoscaling.maxReplicas }}); lower the first or raise the second.
{{- end }}
{{- end }}
{{- end }}

{{- define "platform.check.migration" -}}
{{- if and .Values.migrate.enabled (ge (int .Values.migrate.activeDeadlineSeconds) (int .Values.migrate.releaseTimeoutSeconds)) }}
migrate.activeDeadlineSeconds ({{ .Values.migrate.activeDeadlineSeconds }}) must be below migrate.releaseTimeoutSeconds ({{ .Values.migrate.releaseTimeoutSeconds }}), or helm gives up before the migration does; lower the first, or raise the second together with --timeout.
{{- end }}
{{- end }}

{{- define "platform.check.routes" -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress.hosts is empty; name the host that clients use, such as api.example.com.
{{- end }}
{{- if and .Values.httpRoute.enabled (or (not .Values.httpRoute.parentRefs) (not .Values.httpRoute.hostnames)) }}
httpRoute needs parentRefs, the gateways it hangs on, and hostnames.
{{- end }}
{{- $controller := .Values.networkPolicy.ingressController }}
{{- if and .Values.networkPolicy.enabled (or .Values.ingress.enabled .Values.httpRoute.enabled) (not (or $controller.namespaceLabels $controller.podLabels $controller.cidrs)) }}
networkPolicy.ingressController is empty, so nobody could call the API; name the controller's namespace and pods by labels, or with ALB its subnets by cidrs.
{{- end }}
{{- end }}

{{- define "platform.check.databases" -}}
{{- range list "postgresql" "valkey" }}
{{- if and (index $.Values .).enabled (ne $.Values.environment "local") }}
{{ . }}.enabled is for development: one pod, no backup, no encryption; in {{ $.Values.environment }} switch it off and name a server in the secrets, or set environment to local.
{{- end }}
{{- end }}
{{- end }}

{{/* Kinds of other projects that the values ask for, and that the cluster must know. */}}
{{- define "platform.check.apis" -}}
{{- $wanted := dict }}
{{- if .Values.observability.podMonitor.enabled }}{{ $_ := set $wanted "observability.podMonitor.enabled" "monitoring.coreos.com/v1/PodMonitor" }}{{ end }}
{{- if .Values.observability.prometheusRule.enabled }}{{ $_ := set $wanted "observability.prometheusRule.enabled" "monitoring.coreos.com/v1/PrometheusRule" }}{{ end }}
{{- if .Values.httpRoute.enabled }}{{ $_ := set $wanted "httpRoute.enabled" "gateway.networking.k8s.io/v1/HTTPRoute" }}{{ end }}
{{- range list "app" "migration" }}
{{- if (index $.Values.secrets .).remoteKey }}{{ $_ := set $wanted (printf "secrets.%s.remoteKey" .) "external-secrets.io/v1/ExternalSecret" }}{{ end }}
{{- end }}
{{- range $name := include "platform.workers" . | splitList "," | compact }}
{{- if eq (include "platform.worker" (dict "root" $ "name" $name) | fromYaml).autoscaling.kind "keda" }}
{{- $_ := set $wanted (printf "workers.%s.autoscaling.kind keda" $name) "keda.sh/v1alpha1/ScaledObject" }}
{{- end }}
{{- end }}
{{- range $value, $kind := $wanted }}
{{- if not ($.Capabilities.APIVersions.Has $kind) }}
{{ $value }} needs {{ $kind }}, which this cluster does not know; install what brings it, or switch the value off. Without a cluster say --api-versions {{ $kind }}.
{{- end }}
{{- end }}
{{- end }}
