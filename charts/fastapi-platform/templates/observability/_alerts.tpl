{{/* A rule for each entry that an alert's file asks for: dict root file. */}}
{{- define "platform.alertRules" -}}
{{- $text := .root.Files.Get .file }}
{{- range $entry := include "platform.alertEntries" (dict "root" .root "each" ($text | fromYaml).each) | fromYamlArray }}
{{- $facts := merge (dict) $entry (include "platform.facts" $.root | fromYaml) }}
{{- $alert := include "platform.filled" (dict "name" $.file "text" $text "facts" $facts) | fromYaml }}
{{- $labels := dict "severity" $alert.severity "namespace" $facts.namespace "job" $facts.job }}
{{- $labels = merge $labels (default (dict) $alert.labels) $.root.Values.observability.prometheusRule.alertLabels }}
{{- $runbook := printf "%s/%s.md" $.root.Values.observability.runbookUrl (base $.file | trimSuffix ".yaml") }}
{{- $annotations := dict "summary" $alert.summary "description" (trim $alert.description) "runbook_url" $runbook }}
{{- with $.root.Values.observability.grafanaUrl }}
{{- $panel := include "platform.panelPath" (dict "root" $.root "alert" $alert) }}
{{- $_ := set $annotations "dashboard_url" (printf "%s/d/%s" (trimSuffix "/" .) $panel) }}
{{- end }}
{{ dict "alert" $alert.alert "expr" (trim $alert.expr) "for" $alert.for "labels" $labels "annotations" $annotations | list | toYaml }}
{{- end }}
{{- end }}

{{/* What an alert is rendered for, once each, as facts named `each.<key>`: dict root each. */}}
{{- define "platform.alertEntries" -}}
{{- $slo := include "platform.slo" .root | fromYaml }}
{{- $entries := list }}
{{- if eq .each "burn_rates" }}
{{- $entries = $slo.burn_rates }}
{{- else if eq .each "queues" }}
{{- range $name, $queue := $slo.queues }}{{ $entries = append $entries (merge (dict "name" $name) $queue) }}{{ end }}
{{- else if eq .each "workers" }}
{{- range include "platform.workers" .root | splitList "," | compact }}{{ $entries = append $entries (dict "name" .) }}{{ end }}
{{- else }}
{{- $entries = list (dict) }}
{{- end }}
{{- $facts := list }}
{{- range $entry := $entries }}
{{- $own := dict }}
{{- range $key, $value := $entry }}{{ $_ := set $own (printf "each.%s" $key) (toString $value) }}{{ end }}
{{- $facts = append $facts $own }}
{{- end }}
{{- toYaml $facts }}
{{- end }}

{{/* Where a panel is, below `/d/`: dict root alert. */}}
{{- define "platform.panelPath" -}}
{{- $file := printf "dashboards/%s.json" .alert.dashboard }}
{{- $found := list }}
{{- range (.root.Files.Get $file | fromJson).panels }}
{{- if eq .title $.alert.panel }}{{ $found = append $found .id }}{{ end }}
{{- end }}
{{- if not $found }}{{ fail (printf "%s has no panel %q, which alert %s links to" $file .alert.panel .alert.alert) }}{{ end }}
{{- include "platform.dashboardPrefix" .root }}-{{ .alert.dashboard }}?viewPanel={{ first $found }}
{{- end }}
