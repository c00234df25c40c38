{{- define "sluice.pool" -}}
- name: SLUICE_POOL
  value: kubernetes:{{ include "sluice.functionsNamespace" . }}/{{ include "sluice.workers" . }}
{{- end -}}

{{- define "sluice.warmPods" -}}
{{- $pairs := list -}}
{{- range $family, $pods := .Values.functions.warmPods -}}{{- $pairs = append $pairs (printf "%s=%d" $family (int $pods)) -}}{{- end -}}
{{- join "," $pairs | default "nodejs=0" -}}
{{- end -}}

{{/*
A PodTemplateSpec, from which the controller makes pods. It adds names, the pool's labels, memory, the size of /tmp, SLUICE_WORKER_NAME, SLUICE_JOIN_TOKEN and the owner.
A worker runs other people's code: it gets no credentials of anything, nor a service account's token. Controllers hand it what it may have.
*/}}
{{- define "sluice.workerPod" -}}
{{- $context := dict "root" . "role" "worker" "component" "worker" "values" .Values.functions -}}
metadata:
  labels:
    {{- include "sluice.podLabels" $context | nindent 4 }}
    {{- with .Values.functions.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    kubectl.kubernetes.io/default-container: worker
    # What runs there is finished before the node goes, and made again elsewhere.
    cluster-autoscaler.kubernetes.io/safe-to-evict: "true"
    {{- with .Values.functions.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  # As a ReplicaSet wants it. A pod whose worker ended after it had a function is taken away.
  restartPolicy: Always
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add (div (add (int64 .Values.functions.stopPatienceMs) 999) 1000) 20 }}
  securityContext: {{- include "sluice.podSecurity" 10001 | nindent 4 }}
  {{- with .Values.functions.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with concat .Values.image.pullSecrets .Values.functions.imagePullSecrets | uniq }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with include "sluice.placement" $context | trim }}{{ . | nindent 2 }}{{ end }}
  containers:
    - name: worker
      image: {{ include "sluice.image" $context }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      ports:
        - { name: internal, containerPort: 9401 }
      env:
        - name: SLUICE_CONTROLLERS
          value: http://{{ include "sluice.fullname" . }}-controller.{{ .Release.Namespace }}.svc:9401
        - name: SLUICE_ENDPOINT_URL
          value: http://{{ include "sluice.fullname" . }}-gateway.{{ .Release.Namespace }}.svc:{{ .Values.gateway.service.port }}
        {{- if include "sluice.workerAuthorities" . }}
        - name: SLUICE_S3_CA_FILE
          value: /etc/sluice/authorities/s3.pem
        {{- end }}
        - name: SLUICE_STOP_PATIENCE_MS
          value: {{ include "sluice.text" .Values.functions.stopPatienceMs }}
        {{- with include "sluice.freeSettings" (merge (dict) .Values.functions.settings .Values.settings) | trim }}{{ . | nindent 8 }}{{ end }}
      {{- include "sluice.probes" . | nindent 6 }}
      securityContext: {{- include "sluice.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml .Values.functions.resources | nindent 8 }}
      volumeMounts:
        - { name: tmp, mountPath: /tmp }
        - { name: data, mountPath: /var/lib/sluice }
        {{- if include "sluice.workerAuthorities" . }}
        - { name: authorities, mountPath: /etc/sluice/authorities, readOnly: true }
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: { medium: Memory }
    - name: data
      emptyDir: { sizeLimit: {{ .Values.functions.dataSizeLimit }} }
    {{- if include "sluice.workerAuthorities" . }}
    - name: authorities
      configMap: { name: {{ include "sluice.fullname" . }}-authorities }
    {{- end }}
{{- end -}}
