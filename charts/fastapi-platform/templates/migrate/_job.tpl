{{/* The migration, which takes a lock in the database, so that two never run at once. */}}
{{- define "platform.migrate.spec" -}}
backoffLimit: {{ .Values.migrate.backoffLimit }}
activeDeadlineSeconds: {{ .Values.migrate.activeDeadlineSeconds }}
template:
  {{- include "platform.pod" (dict
    "root" .
    "component" "migrate"
    "values" .Values.migrate
    "command" (list "alembic" "upgrade" "head")
    "env" list
    "restart" "Never"
    "account" (include "platform.serviceAccountName" (dict "root" . "component" "migrate" "values" .Values.migrate))
    "secret" (include "platform.migrationSecret" .)
    "settings" false
  ) | nindent 2 }}
{{- end }}
