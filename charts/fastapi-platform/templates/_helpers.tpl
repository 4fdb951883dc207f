{{/* Names and labels. Each takes the root, or a dict of `root` and `component`. */}}

{{- define "platform.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 38 | trimSuffix "-" }}
{{- end }}

{{/* Leaves room for `-worker-<15 characters>` within the 63 of a label. */}}
{{- define "platform.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 38 | trimSuffix "-" }}
{{- else if contains (include "platform.name" .) .Release.Name }}
{{- .Release.Name | trunc 38 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "platform.name" .) | trunc 38 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "platform.componentName" -}}
{{ include "platform.fullname" .root }}-{{ .component }}
{{- end }}

{{/* What a Deployment selects by. Frozen: a selector cannot be changed after the first installation. */}}
{{- define "platform.selectorLabels" -}}
app.kubernetes.io/name: {{ include "platform.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* What every pod of the release has in common. */}}
{{- define "platform.releaseLabels" -}}
app.kubernetes.io/name: {{ include "platform.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of pods. The chart's own version is not among them: it would replace pods that are otherwise the same. */}}
{{- define "platform.podLabels" -}}
{{ include "platform.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "platform.labels" -}}
{{ include "platform.podLabels" . }}
app.kubernetes.io/version: {{ include "platform.version" .root | quote }}
app.kubernetes.io/part-of: {{ include "platform.name" .root }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "platform.annotations" -}}
{{- with .Values.commonAnnotations }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* The metadata that every object begins with: dict root component [name] [annotations]. */}}
{{- define "platform.metadata" -}}
name: {{ default (include "platform.componentName" .) .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "platform.labels" . | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The release of the service that runs: its tag, or the chart's appVersion. */}}
{{- define "platform.version" -}}
{{- default .Chart.AppVersion .Values.image.tag | trunc 63 | trimAll "-_." }}
{{- end }}

{{- define "platform.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "platform.serviceAccountName" -}}
{{- default (include "platform.componentName" .) .values.serviceAccount.name }}
{{- end }}

{{/* A worker's values over those of all workers: dict root name. */}}
{{- define "platform.worker" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.workerDefaults) (deepCopy (index .root.Values.workers .name)) | toYaml }}
{{- end }}

{{/* Names of the workers that run, comma separated. */}}
{{- define "platform.workers" -}}
{{- $names := list }}
{{- range $name := keys .Values.workers | sortAlpha }}
{{- if (include "platform.worker" (dict "root" $ "name" $name) | fromYaml).enabled }}
{{- $names = append $names $name }}
{{- end }}
{{- end }}
{{- join "," $names }}
{{- end }}

{{/* Whether the migration is a hook: not where the database comes with the release and is not there before. */}}
{{- define "platform.migrateByHook" -}}
{{- if and .Values.migrate.enabled (not .Values.postgresql.enabled) }}true{{ end }}
{{- end }}

{{/* Annotations that make an object part of the migration's hook: dict root weight. */}}
{{- define "platform.hookAnnotations" -}}
{{- if include "platform.migrateByHook" .root }}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}
{{- end }}
