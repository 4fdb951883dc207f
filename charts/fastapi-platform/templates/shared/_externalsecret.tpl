{{/* An entry of the secret store, every key of it: dict root component name remoteKey [annotations]. */}}
{{- define "platform.externalSecret" -}}
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  {{- include "platform.metadata" . | nindent 2 }}
spec:
  refreshInterval: {{ .root.Values.secrets.store.refreshInterval }}
  secretStoreRef:
    kind: {{ .root.Values.secrets.store.kind }}
    name: {{ .root.Values.secrets.store.name }}
  target:
    name: {{ .name }}
  dataFrom:
    - extract: {key: {{ .remoteKey }}}
{{- end }}
