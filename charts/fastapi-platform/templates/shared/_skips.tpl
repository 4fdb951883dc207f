{{/*
What scanners of manifests are told to pass over, each with its reason, as annotations of the object: dict kind, one of
service (a process that stays), task (one that ends), database (of the release, for development).
*/}}
{{- define "platform.skips" -}}
checkov.io/skip1: CKV_K8S_11=A limit on CPU would add latency while CPUs are idle; what a pod is sure to get is its request
checkov.io/skip2: CKV_K8S_15=Tags are not moved, so an image that is on the node is the right one
checkov.io/skip3: CKV_K8S_43=image.digest fixes the image; a release by tag is for where images are built anew each time
checkov.io/skip4: CKV_K8S_35=The service reads its settings from the environment, where its file system holds no secret
{{- if eq .kind "task" }}
checkov.io/skip5: CKV_K8S_8=It runs to its end
checkov.io/skip6: CKV_K8S_9=It runs to its end and serves nobody
{{- else if eq .kind "database" }}
checkov.io/skip5: CKV_K8S_40=The user is that of the official image, whose files belong to it
{{- end }}
# Of resources it would have a limit on CPU; tests/charts asks for the other five itself.
kube-score/ignore: container-resources,container-image-pull-policy{{ if eq .kind "database" }},container-security-context-user-group-id{{ end }}
{{- end }}
