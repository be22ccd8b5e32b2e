{{- define "selkie.name" -}}
{{- default "sealed-secrets" .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "selkie.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "selkie.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "selkie.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "selkie.namespace" -}}
{{- default .Release.Namespace .Values.namespace }}
{{- end }}

{{- define "selkie.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "selkie.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "selkie.leaseName" -}}
{{- default (include "selkie.fullname" .) .Values.replicas.leaseName }}
{{- end }}

{{- define "selkie.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- define "selkie.matchLabels" -}}
app.kubernetes.io/name: {{ include "selkie.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A value that may be a template in a text, or hold templates. */}}
{{- define "selkie.render" -}}
{{- if kindIs "string" .value }}
{{- tpl .value .context }}
{{- else }}
{{- tpl (toYaml .value) .context }}
{{- end }}
{{- end }}

{{/*
The labels and annotations of an object: those of the chart, those of all, and its own. Takes a dictionary of `context`
and, where there are any, `labels` and `annotations`.
*/}}
{{- define "selkie.describe" -}}
{{- $context := .context -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $context.Chart.Name (replace "+" "_" $context.Chart.Version))
  "app.kubernetes.io/version" $context.Chart.AppVersion
  "app.kubernetes.io/part-of" (include "selkie.name" $context)
  "app.kubernetes.io/managed-by" $context.Release.Service }}
{{- range list $context.Values.commonLabels .labels }}
{{- with . }}{{- $labels = mergeOverwrite $labels (include "selkie.render" (dict "value" . "context" $context) | fromYaml) }}{{- end }}
{{- end }}
{{- $labels = mergeOverwrite $labels (include "selkie.matchLabels" $context | fromYaml) }}
{{- $annotations := dict }}
{{- range list $context.Values.commonAnnotations .annotations }}
{{- with . }}{{- $annotations = mergeOverwrite $annotations (include "selkie.render" (dict "value" . "context" $context) | fromYaml) }}{{- end }}
{{- end -}}
labels: {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Entries as `key=value,key=value`, in the order of their keys. */}}
{{- define "selkie.csv" -}}
{{- $entries := list }}
{{- range $key, $value := . }}
{{- $entries = append $entries (printf "%s=%s" $key $value) }}
{{- end }}
{{- join "," $entries }}
{{- end }}

{{- define "selkie.args" -}}
{{- $values := .Values }}
{{- $args := list (printf "--replicas=%s" $values.replicas.mode) (printf "--update-status=%t" $values.updateStatus) }}
{{- if ne $values.replicas.mode "single" }}
{{- $args = append $args (printf "--lease-name=%s" (include "selkie.leaseName" .)) }}
{{- end }}
{{- $flags := list
  (list "accept-deprecated-v1-data" (ternary "" "false" $values.acceptDeprecatedV1Data))
  (list "http-authenticate" (ternary "true" "" $values.http.authenticate))
  (list "http-max-body" $values.http.maxBody)
  (list "key-cutoff-time" $values.keycutofftime)
  (list "key-order-priority" $values.keyOrderPriority)
  (list "key-prefix" $values.secretName)
  (list "key-renew-period" $values.keyrenewperiod)
  (list "key-size" $values.keySize)
  (list "key-ttl" $values.keyttl)
  (list "kubeclient-burst" $values.kubeClientBurst)
  (list "kubeclient-qps" $values.kubeClientQPS)
  (list "label-selector" $values.labelSelector)
  (list "lease-duration" $values.replicas.leaseDuration)
  (list "lease-renew" $values.replicas.leaseRenew)
  (list "listen-addr" (ternary "" (printf ":%v" $values.containerPorts.http) (eq 8080 (int $values.containerPorts.http))))
  (list "listen-metrics-addr" (ternary "" (printf ":%v" $values.containerPorts.metrics) (eq 8081 (int $values.containerPorts.metrics))))
  (list "log-format" $values.logFormat)
  (list "log-info-stdout" (ternary "" "false" $values.logInfoStdout))
  (list "log-level" $values.logLevel)
  (list "max-unseal-retries" $values.maxRetries)
  (list "metrics-omit-secret-labels" (ternary "true" "" $values.metrics.omitSecretLabels))
  (list "my-cn" $values.myCN)
  (list "old-gc-behavior" (ternary "true" "" $values.oldGcBehavior))
  (list "privatekey-annotations" (include "selkie.csv" $values.privateKeyAnnotations))
  (list "privatekey-labels" (include "selkie.csv" $values.privateKeyLabels))
  (list "rate-limit" $values.rateLimit)
  (list "rate-limit-burst" $values.rateLimitBurst)
  (list "read-timeout" $values.http.readTimeout)
  (list "skip-recreate" (ternary "true" "" $values.skipRecreate))
  (list "sops" (ternary "true" "" $values.sops.enabled))
  (list "sops-isindir" (ternary "true" "" $values.sops.isindir))
  (list "sops-isindir-enforce-ownership" (ternary "true" "" $values.sops.isindirEnforceOwnership))
  (list "sops-policy" (ternary "/etc/selkie/policy/policy.yaml" "" (not (empty $values.sops.policy))))
  (list "template-collision" $values.templateCollision)
  (list "watch-for-secrets" (ternary "true" "" $values.watchForSecrets))
  (list "workers" $values.workers)
  (list "write-timeout" $values.http.writeTimeout) }}
{{- range $flags }}
{{- $value := last . }}
{{- if not (has (toString $value) (list "" "<nil>")) }}
{{- /* A number as it was written: a large one would be printed with an exponent. */}}
{{- $args = append $args (printf "--%s=%s" (first .) (ternary (toString $value) (toJson $value) (kindIs "string" $value))) }}
{{- end }}
{{- end }}
{{- range $values.sops.keySecrets }}
{{- $args = append $args (printf "--sops-key-path=/etc/selkie/keys/%s" .) }}
{{- end }}
{{- with $values.additionalNamespaces }}
{{- $args = append $args (printf "--additional-namespaces=%s" (join "," .)) }}
{{- end }}
{{- if or $values.rbac.namespacedRoles $values.additionalNamespaces }}
{{- $args = append $args "--all-namespaces=false" }}
{{- end }}
{{- toYaml $args }}
{{- with $values.extraArgs }}
{{ include "selkie.render" (dict "value" . "context" $) }}
{{- end }}
{{- end }}

{{/* What it takes to turn sealed objects into Secrets. */}}
{{- define "selkie.rules" -}}
- apiGroups: [bitnami.com]
  resources: [sealedsecrets]
  verbs: [get, list, watch]
- apiGroups: [bitnami.com]
  resources: [sealedsecrets/status]
  verbs: [patch, update]
{{- $groups := list }}
{{- if .Values.sops.enabled }}{{- $groups = append $groups "selkie.dev" }}{{- end }}
{{- if .Values.sops.isindir }}{{- $groups = append $groups "isindir.github.com" }}{{- end }}
{{- with $groups }}
- apiGroups: {{ toJson . }}
  resources: [sopssecrets]
  verbs: [get, list, watch]
- apiGroups: {{ toJson . }}
  resources: [sopssecrets/status]
  verbs: [patch, update]
{{- end }}
{{- $verbs := list "create" "get" "patch" "update" }}
{{- if not .Values.skipRecreate }}{{- $verbs = concat $verbs (list "list" "watch") }}{{- end }}
{{- $sops := or .Values.sops.enabled .Values.sops.isindir }}
{{- if and (not .Values.skipRecreate) (or $sops .Values.oldGcBehavior) }}{{- $verbs = append $verbs "delete" }}{{- end }}
- apiGroups: [""]
  resources: [secrets]
  verbs: {{ sortAlpha $verbs | toJson }}
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "selkie.subjects" -}}
- kind: ServiceAccount
  name: {{ include "selkie.serviceAccountName" . }}
  namespace: {{ include "selkie.namespace" . }}
{{- end }}
