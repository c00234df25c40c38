{{/* What the bundled services' pods have in common: include "sluice.bundledPod" (dict "root" . "component" "kafka" "user" 1000). */}}
{{- define "sluice.bundledPod" -}}
metadata:
  labels: {{- include "sluice.podLabels" . | nindent 4 }}
spec:
  automountServiceAccountToken: false
  # The images read variables that begin with their own names.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 60
  securityContext: {{- include "sluice.podSecurity" .user | nindent 4 }}
  {{- with include "sluice.pullSecrets" .root | trim }}{{ . | nindent 2 }}{{ end }}
{{- end -}}

{{- define "sluice.bundledService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "sluice.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
spec:
  selector: {{- include "sluice.selectorLabels" . | nindent 4 }}
  ports:
    - { name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }} }
{{- end -}}

{{/* The volume "data" of a bundled service: a claim, or an emptyDir, where its data need not outlive its pod. */}}
{{- define "sluice.bundledData" -}}
{{- $persistence := .root.Values.persistence -}}
{{- if $persistence.enabled }}
volumeClaimTemplates:
  - metadata:
      name: data
      labels: {{- include "sluice.selectorLabels" . | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with $persistence.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources: { requests: { storage: {{ .size }} } }
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ ternary "Retain" "Delete" $persistence.keepOnUninstall }}
  whenScaled: Retain
{{- end }}
{{- end -}}
