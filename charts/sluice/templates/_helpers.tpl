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
