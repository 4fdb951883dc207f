{{/* From slo.yaml to alerts and dashboards: what stands for `@{name}` in their files. */}}

{{/* Base path of the API. */}}
{{- define "platform.basePath" -}}
{{- default "/api/v1" .Values.config.API_V1_STR }}
{{- end }}

{{/* slo.yaml, its routes under the base path that this release has. */}}
{{- define "platform.slo" -}}
{{- .Files.Get "slo.yaml" | replace "/api/v1/" (printf "%s/" (include "platform.basePath" .)) }}
{{- end }}

{{/* Series of this release alone, as the PodMonitor labels them. */}}
{{- define "platform.seriesSelector" -}}
namespace={{ .Release.Namespace | quote }},job={{ include "platform.fullname" . | quote }}
{{- end }}

{{/* Every fact by its name, as text: `limits` by alert and key, `burn` by number and key, and so on. */}}
{{- define "platform.facts" -}}
{{- $slo := include "platform.slo" . | fromYaml }}
{{- $facts := dict
  "selector" (include "platform.seriesSelector" .)
  "namespace" .Release.Namespace
  "job" (include "platform.fullname" .)
  "base_path" (include "platform.basePath" .)
  "uid" (include "platform.dashboardPrefix" .)
  "traffic" (toString $slo.traffic.requests_per_second)
}}
{{- range $section := list $slo.objectives $slo.limits $slo.queues }}
{{- range $name, $keys := $section }}
{{- range $key, $value := $keys }}{{ $_ := set $facts (printf "%s.%s" $name $key) (toString $value) }}{{ end }}
{{- end }}
{{- end }}
{{- range $number, $burn := $slo.burn_rates }}
{{- range $key, $value := $burn }}{{ $_ := set $facts (printf "burn.%d.%s" $number $key) (toString $value) }}{{ end }}
{{- end }}
{{- toYaml $facts }}
{{- end }}

{{/* A file's text with its facts filled in: dict name text facts. */}}
{{- define "platform.filled" -}}
{{- $text := .text }}
{{- range $name, $value := .facts }}
{{- $text = replace (printf "@{%s}" $name) $value $text }}
{{- end }}
{{- with regexFind "@\\{[^}]*\\}" $text }}{{ fail (printf "%s: slo.yaml has nothing for %s" $.name .) }}{{ end }}
{{- $text }}
{{- end }}

{{/* Begins the uids of a release's dashboards. A uid has 40 characters at most, which names of releases could exceed. */}}
{{- define "platform.dashboardPrefix" -}}
{{- printf "%s/%s" .Release.Namespace (include "platform.fullname" .) | sha256sum | trunc 12 }}
{{- end }}

{{/* Metadata with further labels, by which an operator finds the object: dict root name labels [annotations]. */}}
{{- define "platform.observedMetadata" -}}
{{- $metadata := include "platform.metadata" (merge (dict "component" "observability") .) | fromYaml }}
{{- $_ := set $metadata "labels" (merge (dict) .labels $metadata.labels) }}
{{- toYaml $metadata }}
{{- end }}
