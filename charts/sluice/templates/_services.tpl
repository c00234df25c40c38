{{/* The three services as Sluice is told of them: bundled ones by their Services, others by their addresses. */}}
{{- define "sluice.checkServices" -}}
{{- $values := .Values -}}
{{- if and $values.kafka.bundled.enabled $values.kafka.brokers }}{{ fail "kafka.brokers is set, so the bundled Kafka would stand idle: set kafka.bundled.enabled=false as well." }}{{ end -}}
{{- if and (not $values.kafka.bundled.enabled) (not $values.kafka.brokers) }}{{ fail "kafka.bundled.enabled=false needs kafka.brokers." }}{{ end -}}
{{- if and $values.kafka.bundled.enabled (or $values.kafka.tls.enabled (ne $values.kafka.sasl.mechanism "off")) }}{{ fail "The bundled Kafka has neither TLS nor SASL: kafka.tls and kafka.sasl are for your own." }}{{ end -}}
{{- if and (ne $values.kafka.sasl.mechanism "off") (not $values.kafka.sasl.existingSecret) }}{{ fail "kafka.sasl.mechanism needs kafka.sasl.existingSecret, with the keys username and password." }}{{ end -}}
{{- if and $values.s3.bundled.enabled $values.s3.url }}{{ fail "s3.url is set, so the bundled MinIO would stand idle: set s3.bundled.enabled=false as well." }}{{ end -}}
{{- if and (not $values.s3.bundled.enabled) (not (and $values.s3.url $values.s3.existingSecret)) }}{{ fail "s3.bundled.enabled=false needs s3.url and s3.existingSecret, with the keys access-key and secret-key." }}{{ end -}}
{{- if and $values.redis.bundled.enabled $values.redis.url }}{{ fail "redis.url is set, so the bundled Redis would stand idle: set redis.bundled.enabled=false as well." }}{{ end -}}
{{- if and (not $values.redis.bundled.enabled) (not $values.redis.url) }}{{ fail "redis.bundled.enabled=false needs redis.url." }}{{ end -}}
{{- end -}}

{{- define "sluice.kafkaAddresses" -}}
{{- if .Values.kafka.bundled.enabled -}}{{ include "sluice.fullname" . }}-kafka.{{ .Release.Namespace }}.svc:9092{{- else -}}{{ join "," .Values.kafka.brokers }}{{- end -}}
{{- end -}}

{{- define "sluice.s3Url" -}}
{{- if .Values.s3.bundled.enabled -}}http://{{ include "sluice.fullname" . }}-minio.{{ .Release.Namespace }}.svc:9000{{- else -}}{{ trimSuffix "/" .Values.s3.url }}{{- end -}}
{{- end -}}

{{/* host:port, also where the URL leaves the port out. */}}
{{- define "sluice.s3Address" -}}
{{- $url := include "sluice.s3Url" . -}}
{{- $host := regexReplaceAll "^https?://" $url "" -}}
{{- if regexMatch ":[0-9]+$" $host -}}{{ $host }}{{- else -}}{{ $host }}:{{ ternary "443" "80" (hasPrefix "https:" $url) }}{{- end -}}
{{- end -}}

{{- define "sluice.redisUrl" -}}
{{- if .Values.redis.bundled.enabled -}}redis://{{ include "sluice.fullname" . }}-redis.{{ .Release.Namespace }}.svc:6379{{- else -}}{{ .Values.redis.url }}{{- end -}}
{{- end -}}

{{- define "sluice.secretName" -}}{{ default (printf "%s-secret" (include "sluice.fullname" .)) .Values.secret.existingSecret }}{{- end -}}
{{- define "sluice.s3SecretName" -}}{{ default (printf "%s-s3" (include "sluice.fullname" .)) .Values.s3.existingSecret }}{{- end -}}
{{- define "sluice.redisSecretName" -}}{{ default (printf "%s-redis" (include "sluice.fullname" .)) .Values.redis.existingSecret }}{{- end -}}
{{- define "sluice.redisHasPassword" -}}{{ if or .Values.redis.bundled.enabled .Values.redis.existingSecret }}yes{{ end }}{{- end -}}

{{/* PEM texts that roles read, by file name, as YAML. Worker pods have no use but for the S3 server's. */}}
{{- define "sluice.authorities" -}}
{{- with .Values.kafka.tls.ca }}
kafka.pem: {{ quote . }}
{{- end }}
{{- with .Values.redis.ca }}
redis.pem: {{ quote . }}
{{- end }}
{{- include "sluice.workerAuthorities" . }}
{{- end -}}
{{- define "sluice.workerAuthorities" -}}
{{- with .Values.s3.ca }}
s3.pem: {{ quote . }}
{{- end }}
{{- end -}}

{{/* One variable from a Secret: include "sluice.fromSecret" (list "NAME" "secret" "key"), with a fourth element where the key may be missing. */}}
{{- define "sluice.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef: { name: {{ index . 1 }}, key: {{ index . 2 }}{{ if gt (len .) 3 }}, optional: true{{ end }} }
{{- end -}}

{{/* Settings of gateways and controllers, without credentials. */}}
{{- define "sluice.serviceSettings" -}}
- name: SLUICE_STORE
  value: {{ include "sluice.s3Url" . | replace "https://" "s3s://" | replace "http://" "s3://" }}
- name: SLUICE_S3_REGION
  value: {{ .Values.s3.region | quote }}
{{- with .Values.s3.publicUrl }}
- name: SLUICE_S3_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- if .Values.s3.ca }}
- name: SLUICE_S3_CA_FILE
  value: /etc/sluice/authorities/s3.pem
{{- end }}
- name: SLUICE_CACHE
  value: {{ include "sluice.redisUrl" . }}
{{- if .Values.redis.ca }}
- name: SLUICE_REDIS_CA_FILE
  value: /etc/sluice/authorities/redis.pem
{{- end }}
{{- end -}}

{{/* Environment of gateways and controllers. */}}
{{- define "sluice.roleEnvironment" -}}
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
- name: SLUICE_INTERNAL_URL
  value: http://$(POD_IP):9401
{{ include "sluice.fromSecret" (list "SLUICE_SECRET" (include "sluice.secretName" .) "secret") }}
- name: SLUICE_LOG
  value: kafka://{{ include "sluice.kafkaAddresses" . }}
{{- with .Values.kafka.tls }}
{{- if .enabled }}
- name: SLUICE_KAFKA_TLS
  value: "on"
{{- if .ca }}
- name: SLUICE_KAFKA_CA_FILE
  value: /etc/sluice/authorities/kafka.pem
{{- end }}
{{- if .clientCertificateSecret }}
- name: SLUICE_KAFKA_CERT_FILE
  value: /etc/sluice/kafka-client/tls.crt
- name: SLUICE_KAFKA_KEY_FILE
  value: /etc/sluice/kafka-client/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.kafka.sasl }}
{{- if ne .mechanism "off" }}
- name: SLUICE_KAFKA_SASL
  value: {{ .mechanism }}
{{ include "sluice.fromSecret" (list "SLUICE_KAFKA_USERNAME" .existingSecret "username") }}
{{ include "sluice.fromSecret" (list "SLUICE_KAFKA_PASSWORD" .existingSecret "password") }}
{{- end }}
{{- end }}
{{ include "sluice.serviceSettings" . }}
{{ include "sluice.fromSecret" (list "SLUICE_S3_ACCESS_KEY" (include "sluice.s3SecretName" .) "access-key") }}
{{ include "sluice.fromSecret" (list "SLUICE_S3_SECRET_KEY" (include "sluice.s3SecretName" .) "secret-key") }}
{{- if include "sluice.redisHasPassword" . }}
{{ include "sluice.fromSecret" (list "SLUICE_REDIS_USERNAME" (include "sluice.redisSecretName" .) "username" "optional") }}
{{ include "sluice.fromSecret" (list "SLUICE_REDIS_PASSWORD" (include "sluice.redisSecretName" .) "password") }}
{{- end }}
{{- include "sluice.freeSettings" .Values.settings }}
{{- end -}}

{{/* Files of gateways and controllers besides their images: /tmp is all that they write to. */}}
{{- define "sluice.roleMounts" -}}
- { name: tmp, mountPath: /tmp }
{{- if include "sluice.authorities" . }}
- { name: authorities, mountPath: /etc/sluice/authorities, readOnly: true }
{{- end }}
{{- if .Values.kafka.tls.clientCertificateSecret }}
- { name: kafka-client, mountPath: /etc/sluice/kafka-client, readOnly: true }
{{- end }}
{{- end -}}
{{- define "sluice.roleVolumes" -}}
- name: tmp
  emptyDir: { sizeLimit: 256Mi }
{{- if include "sluice.authorities" . }}
- name: authorities
  configMap: { name: {{ include "sluice.fullname" . }}-authorities }
{{- end }}
{{- with .Values.kafka.tls.clientCertificateSecret }}
- name: kafka-client
  secret: { secretName: {{ . }} }
{{- end }}
{{- end -}}

{{/* Waits for Kafka and the S3 server, without which the role's start would end at once. Redis may be away. */}}
{{- define "sluice.waitForServices" -}}
- name: wait-for-services
  image: {{ include "sluice.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command:
    - node
    - --input-type=module
    - --eval
    - {{ .root.Files.Get "files/wait-for.mjs" | toJson }}
    - {{ ternary "kafkas" "kafka" .root.Values.kafka.tls.enabled }}://{{ include "sluice.kafkaAddresses" .root }}
    - {{ include "sluice.s3Url" .root }}
  securityContext: {{- include "sluice.containerSecurity" . | nindent 4 }}
  resources:
    requests: { cpu: 10m, memory: 64Mi }
    limits: { memory: 128Mi }
{{- end -}}
