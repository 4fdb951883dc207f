{{/* The parts that both databases share: dict root component values. */}}

{{- define "platform.database.security" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .values.runAsUser }}
  runAsGroup: {{ .values.runAsUser }}
  fsGroup: {{ .values.runAsUser }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "platform.database.container" -}}
image: {{ .values.image }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- end }}

{{- define "platform.database.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "platform.metadata" . | nindent 2 }}
spec:
  {{- with .clusterIP }}
  clusterIP: {{ . }}
  {{- end }}
  ports:
    - {name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }}}
  selector:
    {{- include "platform.selectorLabels" . | nindent 4 }}
{{- end }}
