{{/* Parts of rules of NetworkPolicies. */}}

{{/* Pods by labels of theirs and of their namespace: dict namespaceLabels podLabels. */}}
{{- define "platform.peer" -}}
{{- with .namespaceLabels }}
namespaceSelector:
  matchLabels:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- with .podLabels }}
podSelector:
  matchLabels:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* Peers by network and by labels, as a list: dict cidrs namespaceLabels podLabels. */}}
{{- define "platform.peers" -}}
{{- range .cidrs }}
- ipBlock: {cidr: {{ . }}}
{{- end }}
{{- with include "platform.peer" . }}
- {{ . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{/* Rules of egress from a list of destinations. */}}
{{- define "platform.egress" -}}
{{- range . }}
- to:
    {{- if .cidr }}
    - ipBlock: {cidr: {{ .cidr }}}
    {{- else }}
    - {{ include "platform.peer" . | nindent 6 | trim }}
    {{- end }}
  ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* The way to a database: the one of the release, or those of the values: dict root component port destinations. */}}
{{- define "platform.databaseEgress" -}}
{{- if (index .root.Values .component).enabled }}
- to:
    - podSelector:
        matchLabels:
          {{- include "platform.selectorLabels" . | nindent 10 }}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- else }}
{{- include "platform.egress" .destinations }}
{{- end }}
{{- end }}

{{- define "platform.dnsEgress" -}}
- to:
    {{- include "platform.peers" . | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{/* Pods of some components: dict root components. */}}
{{- define "platform.componentsSelector" -}}
matchLabels:
  {{- include "platform.releaseLabels" .root | nindent 2 }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: {{ .components | toJson }}}
{{- end }}
