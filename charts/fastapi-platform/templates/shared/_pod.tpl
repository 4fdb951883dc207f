{{/*
The pod of every component. A dict of
  root         the root
  component    api, worker-<name>, scheduler, migrate, test
  values       the component's values: resources, pods
  command      a list
  env          variables of its own, a list
  ports        a list
  probes       startupProbe, readinessProbe, livenessProbe
  lifecycle    hooks of the container
  grace        seconds until it is killed
  account      name of its ServiceAccount
  secret       name of the Secret it reads
  settings     whether it reads the settings
  waits        whether it waits for a migration that is no hook
  restart      restart policy
*/}}
{{- define "platform.pod" -}}
{{- $pods := mustMergeOverwrite (deepCopy .root.Values.pods) (deepCopy (default (dict) .values.pods)) }}
metadata:
  labels:
    {{- include "platform.podLabels" . | nindent 4 }}
    app.kubernetes.io/version: {{ include "platform.version" .root | quote }}
    {{- with $pods.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ .component }}
    {{- if .settings }}
    checksum/settings: {{ include "platform.settings" .root | sha256sum }}
    {{- end }}
    {{- if and .settings .root.Values.secrets.app.inline }}
    checksum/secrets: {{ include "platform.inlineSecrets" .root | sha256sum }}
    {{- end }}
    {{- with merge (dict) $pods.annotations .root.Values.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ .account }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .grace }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $pods.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ $pods.runAsUser }}
    runAsGroup: {{ $pods.runAsUser }}
    fsGroup: {{ $pods.runAsUser }}
    seccompProfile: {type: RuntimeDefault}
  {{- if and .waits .root.Values.postgresql.enabled .root.Values.migrate.enabled }}
  initContainers:
    - name: wait
      command: [python, -m, app, wait, --seconds, {{ .root.Values.migrate.activeDeadlineSeconds | quote }}]
      {{- include "platform.container" (dict "root" .root "pods" $pods "resources" .root.Values.migrate.resources "secret" .secret "settings" .settings "env" list) | nindent 6 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      command:
        {{- toYaml .command | nindent 8 }}
      {{- include "platform.container" (dict "root" .root "pods" $pods "resources" .values.resources "secret" .secret "settings" .settings "env" .env) | nindent 6 }}
      {{- with .ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .probes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- with .lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- with $pods.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $pods.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pods.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pods.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pods.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "platform.selectorLabels" $ | nindent 10 }}
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
{{- end }}

{{/* What every container of the image has: dict root pods resources secret settings env. */}}
{{- define "platform.container" -}}
image: {{ include "platform.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
envFrom:
  {{- if .settings }}
  - configMapRef: {name: {{ include "platform.fullname" .root }}-settings}
  {{- end }}
  - secretRef: {name: {{ .secret }}}
{{- with concat .env .pods.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- with .pods.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Probes by HTTP: dict probes, each with the path of its own. */}}
{{- define "platform.httpProbes" -}}
{{- range $name := list "startup" "readiness" "liveness" }}
{{- $path := ternary "live" (ternary "ready" "startup" (eq $name "readiness")) (eq $name "liveness") }}
{{ $name }}Probe:
  httpGet: {path: /health/{{ $path }}, port: http}
  {{- toYaml (index $.probes $name) | nindent 2 }}
{{- end }}
{{- end }}

{{/* Probes by the age of the file that a loop touches: dict probes seconds. Half the age is enough not to count as ready. */}}
{{- define "platform.heartbeatProbes" -}}
{{- $young := "test $(($(date +%%s) - $(stat -c %%Y \"$WORKER_HEARTBEAT_FILE\"))) -lt %d" }}
{{- $tests := dict "startup" "test -e \"$WORKER_HEARTBEAT_FILE\"" "readiness" (printf $young (div .seconds 2)) "liveness" (printf $young (int .seconds)) }}
{{- range $name, $test := $tests }}
{{ $name }}Probe:
  exec:
    command: [sh, -c, {{ $test | quote }}]
  {{- toYaml (index $.probes $name) | nindent 2 }}
{{- end }}
{{- end }}

{{/* A ServiceAccount: dict root component values [annotations]. */}}
{{- define "platform.serviceAccount" -}}
{{- if .values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "platform.metadata" (merge (dict "name" (include "platform.serviceAccountName" .) "annotations" (merge (dict) .values.serviceAccount.annotations (default (dict) .annotations))) .) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{/* A PodDisruptionBudget: dict root component budget. */}}
{{- define "platform.disruptionBudget" -}}
{{- if .budget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "platform.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .budget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "platform.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* An HPA by CPU: dict root component autoscaling. */}}
{{- define "platform.autoscaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "platform.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "platform.componentName" . }}
  minReplicas: {{ .autoscaling.minReplicas }}
  maxReplicas: {{ .autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .autoscaling.targetCPUUtilization }}}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      policies:
        - {type: Percent, value: 100, periodSeconds: 30}
        - {type: Pods, value: 2, periodSeconds: 30}
    scaleDown:
      stabilizationWindowSeconds: {{ .autoscaling.scaleDownStabilizationSeconds }}
      policies:
        - {type: Percent, value: 25, periodSeconds: 60}
        - {type: Pods, value: 1, periodSeconds: 60}
      selectPolicy: Max
{{- end }}
