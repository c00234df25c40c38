{{/* Peers of NetworkPolicies. */}}
{{- define "sluice.peer" -}}
- podSelector:
    matchLabels: {{- include "sluice.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* A component of the release, as seen from the functions' namespace. */}}
{{- define "sluice.releasePeer" -}}
- namespaceSelector:
    matchLabels: { kubernetes.io/metadata.name: {{ .root.Release.Namespace }} }
  podSelector:
    matchLabels: {{- include "sluice.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* Worker pods, as seen from the release's namespace: all pods of the namespace that is theirs. */}}
{{- define "sluice.workerPeer" -}}
- namespaceSelector:
    matchLabels: { kubernetes.io/metadata.name: {{ include "sluice.functionsNamespace" . }} }
{{- end -}}

{{- define "sluice.metricsIngress" -}}
{{- with .Values.networkPolicy.metricsFrom }}
- from: {{- toYaml . | nindent 4 }}
  ports: [{ protocol: TCP, port: internal }]
{{- end }}
{{- end -}}

{{- define "sluice.dnsEgress" -}}
- to: {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
  ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
{{- end -}}

{{/* Egress to one service: include "sluice.serviceEgress" (dict "root" . "component" "minio" "bundled" true "to" list "addresses" list "peer" "sluice.peer"). A bundled one is known by its labels, another by its ports. */}}
{{- define "sluice.serviceEgress" -}}
{{- if .bundled }}
- to: {{- include .peer . | nindent 4 }}
  ports: [{ protocol: TCP, port: {{ .component }} }]
{{- else }}
{{- $ports := dict }}
{{- range .addresses }}{{ $_ := set $ports (regexFind "[0-9]+$" .) true }}{{ end }}
- {{ with .to }}to: {{- toYaml . | nindent 4 }}
  {{ end }}ports:
  {{- range $port, $_ := $ports }}
    - { protocol: TCP, port: {{ $port }} }
  {{- end }}
{{- end }}
{{- end -}}

{{/* Where worker pods read code and payloads from, at addresses that controllers sign. */}}
{{- define "sluice.s3Egress" -}}
{{- $root := .root -}}
{{- include "sluice.serviceEgress" (dict "root" $root "component" "minio" "bundled" $root.Values.s3.bundled.enabled "to" $root.Values.networkPolicy.s3To "addresses" (list (include "sluice.s3Address" $root)) "peer" .peer) | trim }}
{{- end -}}

{{/* DNS, the S3 server and Redis, which gateways and controllers need. */}}
{{- define "sluice.commonEgress" -}}
{{- $root := .root -}}
{{- $redis := regexReplaceAll "/[0-9]+$" (include "sluice.redisUrl" $root) "" -}}
{{- include "sluice.dnsEgress" $root }}
{{ include "sluice.s3Egress" . }}
{{- include "sluice.serviceEgress" (dict "root" $root "component" "redis" "bundled" $root.Values.redis.bundled.enabled "to" $root.Values.networkPolicy.redisTo "addresses" (list (ternary $redis (printf "%s:6379" $redis) (regexMatch ":[0-9]+$" $redis))) "peer" .peer) }}
{{- end -}}

{{- define "sluice.kafkaEgress" -}}
{{- include "sluice.serviceEgress" (dict "root" . "component" "kafka" "bundled" .Values.kafka.bundled.enabled "to" .Values.networkPolicy.kafkaTo "addresses" (splitList "," (include "sluice.kafkaAddresses" .)) "peer" "sluice.peer") | trim }}
{{- end -}}
