{{/* Names. 40 characters leave room for the longest ending within a DNS label. */}}
{{- define "sluice.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $default := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $default .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "sluice.functionsNamespace" -}}
{{- $namespace := default (printf "%s-functions" .Release.Namespace) .Values.functions.namespace -}}
{{- if eq $namespace .Release.Namespace -}}
{{- fail "functions.namespace is the release's own; worker pods run other people's code and need a namespace of their own." -}}
{{- end -}}
{{- $namespace -}}
{{- end -}}

{{- define "sluice.workers" -}}{{ include "sluice.fullname" . }}-workers{{- end -}}

{{/* The role's image: include "sluice.image" (dict "root" . "role" "gateway"). */}}
{{- define "sluice.image" -}}
{{- $image := .root.Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}/{{ .role }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end -}}

{{/* What a Deployment selects by, and what a component's pods have. component: gateway, controller, worker, kafka, minio, redis, test. */}}
{{- define "sluice.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/part-of: sluice
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{/* Labels of a pod: without what changes from release to release. */}}
{{- define "sluice.podLabels" -}}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/part-of: sluice
{{- end -}}

{{/* Pod Security Standard "restricted": include "sluice.podSecurity" 10001. */}}
{{- define "sluice.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "sluice.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Where pods of a role may run: include "sluice.placement" (dict "root" . "component" "gateway" "values" .Values.gateway). */}}
{{- define "sluice.placement" -}}
{{- $values := .values -}}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels: {{- include "sluice.selectorLabels" (dict "root" $.root "component" $.component) | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end -}}

{{- define "sluice.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Probes of a role. The start may take as long as Kafka's; a role that does not answer for a minute hangs. */}}
{{- define "sluice.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: internal }
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 120
livenessProbe:
  httpGet: { path: /healthz, port: internal }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: internal }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{/* A value as text: numbers come from YAML as floating point, and large ones would be written 6.048e+08. */}}
{{- define "sluice.text" -}}
{{- if kindIs "float64" . -}}{{ int64 . | toString | quote }}{{- else -}}{{ . | toString | quote }}{{- end -}}
{{- end -}}

{{- define "sluice.freeSettings" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ include "sluice.text" $value }}
{{- end }}
{{- end -}}

{{/* A setting's number as text: include "sluice.numberOf" (list $settings "SLUICE_…" 60000), with the number where it is not set. */}}
{{- define "sluice.numberOf" -}}
{{- $value := get (index . 0) (index . 1) -}}
{{- if eq (toString $value) "" -}}{{ index . 2 }}{{- else if kindIs "string" $value -}}{{ regexReplaceAll "^0+([0-9])" $value "${1}" }}{{- else -}}{{ int64 $value }}{{- end -}}
{{- end -}}

{{/* What settings must be together, which the schema cannot say. Each role would refuse it at its start, or Kafka would refuse the controllers. */}}
{{- define "sluice.checkSettings" -}}
{{- range list (list "settings" .Values.settings) (list "functions.settings, over settings" (merge (dict) .Values.functions.settings .Values.settings)) -}}
{{- $settings := index . 1 -}}
{{- $min := include "sluice.numberOf" (list $settings "SLUICE_KEEP_ALIVE_MIN_MS" 60000) -}}
{{- $max := include "sluice.numberOf" (list $settings "SLUICE_KEEP_ALIVE_MAX_MS" 900000) -}}
{{- if lt (int64 $max) (int64 $min) }}{{ fail (printf "%s: SLUICE_KEEP_ALIVE_MAX_MS=%s is below SLUICE_KEEP_ALIVE_MIN_MS=%s; raise the one or lower the other." (index . 0) $max $min) }}{{ end -}}
{{- end -}}
{{- if .Values.kafka.bundled.enabled -}}
{{- $settings := .Values.settings -}}
{{- range list "SLUICE_TOPIC_REPLICATION" "SLUICE_TOPIC_MIN_INSYNC" -}}
{{- $number := include "sluice.numberOf" (list $settings . 1) -}}
{{- if ne $number "1" }}{{ fail (printf "settings.%s=%s: the bundled Kafka is one broker. Leave it out, or bring your own Kafka (kafka.bundled.enabled=false)." . $number) }}{{ end -}}
{{- end -}}
{{- $session := include "sluice.numberOf" (list $settings "SLUICE_KAFKA_SESSION_MS" 6000) -}}
{{- if lt (int64 $session) 6000 }}{{ fail (printf "settings.SLUICE_KAFKA_SESSION_MS=%s: the bundled Kafka takes no less than 6000 (group.min.session.timeout.ms)." $session) }}{{ end -}}
{{- end -}}
{{- end -}}
