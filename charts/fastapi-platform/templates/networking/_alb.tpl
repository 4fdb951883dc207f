{{/* What the AWS Load Balancer Controller is told; both times are those that a pod's end counts on. */}}
{{- define "platform.albAnnotations" -}}
alb.ingress.kubernetes.io/scheme: {{ .Values.ingress.alb.scheme }}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/listen-ports: '[{"HTTP": 80}, {"HTTPS": 443}]'
alb.ingress.kubernetes.io/ssl-redirect: "443"
alb.ingress.kubernetes.io/ssl-policy: {{ .Values.ingress.alb.sslPolicy }}
{{- with .Values.ingress.alb.certificateArn }}
alb.ingress.kubernetes.io/certificate-arn: {{ . }}
{{- end }}
{{- with .Values.ingress.alb.groupName }}
alb.ingress.kubernetes.io/group.name: {{ . }}
{{- end }}
alb.ingress.kubernetes.io/healthcheck-path: /health/ready
alb.ingress.kubernetes.io/healthcheck-interval-seconds: "10"
alb.ingress.kubernetes.io/healthcheck-timeout-seconds: "5"
alb.ingress.kubernetes.io/healthy-threshold-count: "2"
alb.ingress.kubernetes.io/unhealthy-threshold-count: "2"
alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds={{ .Values.api.loadBalancerIdleTimeoutSeconds }},routing.http.drop_invalid_header_fields.enabled=true
alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds={{ .Values.api.shutdown.deregistrationDelaySeconds }}
{{- end }}
