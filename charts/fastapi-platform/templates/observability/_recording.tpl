{{/* A number as Prometheus writes the bound of a bucket. */}}
{{- define "platform.bound" -}}
{{ ternary (printf "%.1f" (float64 .)) (toString .) (eq (float64 .) (floor .)) }}
{{- end }}

{{/* Requests per second to every endpoint with a latency objective: dict root window bucket. `bucket` is `objective`, for those
answered within it, or a bound for all of them. No series is in two of the parts, so `or` joins them. */}}
{{- define "platform.requestsByRoute" -}}
{{- $slo := include "platform.slo" .root | fromYaml }}
{{- $routes := dict }}
{{- range $endpoint, $budget := $slo.endpoints }}
{{- if $budget.within_seconds }}
{{- $method := splitList " " $endpoint | first }}
{{- $key := printf "method=%q,le=%q" $method (eq $.bucket "objective" | ternary (include "platform.bound" $budget.within_seconds) $.bucket) }}
{{- $handler := splitList " " $endpoint | last | regexQuoteMeta }}
{{- $_ := set $routes $key (append (default (list) (get $routes $key)) $handler) }}
{{- end }}
{{- end }}
{{- $parts := list }}
{{- range $key := keys $routes | sortAlpha }}
{{- $handlers := get $routes $key | sortAlpha | join "|" }}
{{- $parts = append $parts (printf "rate(http_request_duration_seconds_bucket{%s,%s,handler=~`%s`}[%s])" (include "platform.seriesSelector" $.root) $key $handlers $.window) }}
{{- end }}
{{- join " or " $parts }}
{{- end }}

{{/* A recording rule, its series labelled as this release's: dict root record expr. */}}
{{- define "platform.recording" -}}
{{- $labels := dict "namespace" .root.Release.Namespace "job" (include "platform.fullname" .root) }}
{{- dict "record" .record "expr" .expr "labels" $labels | list | toYaml }}
{{- end }}

{{/* Requests per second that the objectives speak of, and those that missed one: dict root window. A group evaluates its rules
in order, so errors are counted from the requests recorded just before. */}}
{{- define "platform.recordings" -}}
{{- $selector := include "platform.seriesSelector" .root }}
{{- $answers := printf "http_requests_total{%s,handler=~\"%s/.+\"" $selector (include "platform.basePath" .root) }}
{{- $recorded := printf "sum(job:slo_%%s_requests:rate%s{%s})" .window $selector }}
{{- $all := include "platform.requestsByRoute" (merge (dict "bucket" "+Inf") .) }}
{{- $fast := include "platform.requestsByRoute" (merge (dict "bucket" "objective") .) }}
{{- range list
  (list "availability_requests" (printf "sum(rate(%s}[%s]))" $answers .window))
  (list "availability_errors" (printf "sum(rate(%s,status=~\"5..\"}[%s])) or 0 * %s" $answers .window (printf $recorded "availability")))
  (list "latency_requests" (printf "sum(%s)" $all))
  (list "latency_errors" (printf "%s - sum(%s)" (printf $recorded "latency") $fast))
}}
{{ include "platform.recording" (dict "root" $.root "record" (printf "job:slo_%s:rate%s" (first .) $.window) "expr" (last .)) }}
{{- end }}
{{- end }}

{{/* Requests per second that missed their latency objective, by route. */}}
{{- define "platform.slowByRoute" -}}
{{- $all := include "platform.requestsByRoute" (dict "root" . "window" "5m" "bucket" "+Inf") }}
{{- $fast := include "platform.requestsByRoute" (dict "root" . "window" "5m" "bucket" "objective") }}
{{- printf "sum by (method, handler) (%s) - sum by (method, handler) (%s)" $all $fast }}
{{- end }}

{{/* What is left of an objective's error budget, between 1 and 0, or below when it is overspent: dict root name. */}}
{{- define "platform.budgetLeft" -}}
{{- $objective := index (include "platform.slo" .root | fromYaml).objectives .name }}
{{- $selector := include "platform.seriesSelector" .root }}
{{- $sum := printf "sum_over_time(job:slo_%s_%%s:rate5m{%s}[%s])" .name $selector $objective.period }}
{{- printf "1 - %s / %s / (1 - %s)" (printf $sum "errors") (printf $sum "requests") (toString $objective.target) }}
{{- end }}
