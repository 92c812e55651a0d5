{{- define "oscc-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- /* What everything is called; a Service is the one that takes the fewest names. */ -}}
{{- define "oscc-gateway.fullname" -}}
{{- $name := printf "%s-%s" .Release.Name (include "oscc-gateway.name" .) }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if contains (include "oscc-gateway.name" .) .Release.Name }}
{{- $name = .Release.Name }}
{{- end }}
{{- $name = $name | trunc 50 | trimSuffix "-" }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) }}
{{- fail (printf "No Service can be called %s: small letters, digits and hyphens, a letter first. Set fullnameOverride, or name the release otherwise." $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{- define "oscc-gateway.selector" -}}
app.kubernetes.io/name: {{ include "oscc-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end }}

{{- define "oscc-gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "oscc-gateway.selector" . }}
{{- with omit .Values.commonLabels "helm.sh/chart" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Of pods: nothing that another version of the chart would change, which would replace all pods. */ -}}
{{- define "oscc-gateway.podLabels" -}}
{{- toYaml (merge (include "oscc-gateway.selector" . | fromYaml) .Values.podLabels .Values.commonLabels) }}
{{- end }}

{{- define "oscc-gateway.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry | trimSuffix "/" -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "oscc-gateway.pullSecrets" -}}
{{- with concat (.Values.global.imagePullSecrets | default list) .Values.imagePullSecrets | uniq -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "oscc-gateway.secret" -}}
{{ .Values.secrets.existingSecret | default (include "oscc-gateway.fullname" .) }}
{{- end }}

{{- define "oscc-gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "oscc-gateway.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* How long a pod drains after it was asked to end. */ -}}
{{- define "oscc-gateway.drain" -}}
{{- $limits := .Values.settings.limits }}
{{- addf .Values.drain.preStopSeconds $limits.drain_notice_s $limits.drain_s | ceil | int64 }}
{{- end }}

{{- /* What a pod may take to end: preStop + drain + margin. */ -}}
{{- define "oscc-gateway.grace" -}}
{{- $least := add (include "oscc-gateway.drain" . | int64) .Values.drain.marginSeconds | int64 }}
{{- $given := .Values.drain.terminationGracePeriodSeconds }}
{{- if kindIs "invalid" $given -}}
{{ $least }}
{{- else if lt (int64 $given) $least -}}
{{ fail (printf "drain.terminationGracePeriodSeconds is %d, but preStop, drain and margin take %d s: nodes would be killed in the middle of their drain." (int64 $given) $least) }}
{{- else -}}
{{ int64 $given }}
{{- end }}
{{- end }}

{{- define "oscc-gateway.minReady" -}}
{{- if kindIs "invalid" .Values.minReadySeconds -}}
{{ include "oscc-gateway.drain" . }}
{{- else -}}
{{ .Values.minReadySeconds }}
{{- end }}
{{- end }}

{{- /* Fails where a variable would change what the chart computes with. */ -}}
{{- define "oscc-gateway.checkEnv" -}}
{{- range .Values.extraEnv }}
{{- if has (upper .name) (list "OSCC_GATEWAY__LIMITS__DRAIN_S" "OSCC_GATEWAY__LIMITS__DRAIN_NOTICE_S") }}
{{- fail (printf "extraEnv has %s: set it under settings.limits, from which the chart computes how long pods take to end." .name) }}
{{- else if has (upper .name) (list "OSCC_GATEWAY__CLIENT__HOST" "OSCC_GATEWAY__CLIENT__PORT" "OSCC_GATEWAY__OPS__HOST" "OSCC_GATEWAY__OPS__PORT") }}
{{- fail (printf "extraEnv has %s, but probes and Services go to the chart's own listeners." .name) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A value as TOML. */ -}}
{{- define "oscc-gateway.toml" -}}
{{- if kindIs "string" . }}{{ toJson . }}
{{- else if kindIs "bool" . }}{{ . }}
{{- else if kindIs "slice" . }}[{{ range $place, $one := . }}{{ if $place }}, {{ end }}{{ include "oscc-gateway.toml" $one }}{{ end }}]
{{- else if kindIs "map" . }}{ {{- range $place, $key := keys . | sortAlpha }}{{ if $place }},{{ end }} {{ $key }} = {{ include "oscc-gateway.toml" (get $ $key) }}{{ end }} }
{{- else if eq (floor .) (float64 .) }}{{ int64 . }}
{{- else }}{{ . }}
{{- end }}
{{- end }}

{{- /* The keys of a table, without those that have no value. */ -}}
{{- define "oscc-gateway.table" -}}
{{- $table := . }}
{{- range $key := keys . | sortAlpha }}
{{- $value := get $table $key }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ include "oscc-gateway.toml" $value }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Of [bus], what redis gives. */ -}}
{{- define "oscc-gateway.bus" -}}
{{- $redis := .Values.redis }}
{{- if $redis.url }}
{{- if and (not .Values.secrets.existingSecret) .Values.secrets.busUrl }}
{{- fail "redis.url and secrets.busUrl are both set: keep one." }}
{{- else if and $redis.ca.existingSecret (dig "bus" "ca_file" "" .Values.settings) }}
{{- fail "redis.ca.existingSecret and settings.bus.ca_file are both set: keep one." }}
{{- end }}
url: {{ $redis.url | quote }}
{{- with $redis.user }}
user: {{ . | quote }}
{{- end }}
{{- with $redis.sentinelUser }}
sentinel_user: {{ . | quote }}
{{- end }}
{{- if $redis.ca.existingSecret }}
ca_file: /run/secrets/redis/ca.crt
{{- end }}
{{- else if or $redis.user $redis.password.existingSecret $redis.sentinelUser $redis.sentinelPassword.existingSecret $redis.ca.existingSecret }}
{{- fail "redis.url is missing: users, passwords and authority under redis belong to it." }}
{{- end }}
{{- end }}

{{- /* Passwords and authority of Redis, each a key of a Secret. */ -}}
{{- define "oscc-gateway.redisFiles" -}}
{{- if .Values.redis.url }}
{{- range $name, $from := dict "password" .Values.redis.password "sentinel_password" .Values.redis.sentinelPassword "ca.crt" .Values.redis.ca }}
{{- if $from.existingSecret }}
- secret:
    name: {{ $from.existingSecret }}
    items:
      - {key: {{ $from.key | quote }}, path: {{ $name }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "oscc-gateway.config" -}}
{{- if not .Values.sites }}
{{- fail "sites is empty: name at least one OSCC-E Server (id, url, display_name, country)." }}
{{- end }}
{{- $settings := deepCopy .Values.settings }}
{{- $client := merge (dict "host" "0.0.0.0" "port" 8080) (get $settings "client" | default dict) }}
{{- if .Values.tls.existingSecret }}
{{- if $client.insecure }}
{{- fail "settings.client.insecure means clear text, and tls.existingSecret means TLS: remove one of them." }}
{{- end }}
{{- $client = merge (dict "certificate" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key") $client }}
{{- else if not (or $client.trusted_proxies $client.insecure) }}
{{- fail "Nothing ends TLS. Set tls.existingSecret, or settings.client.trusted_proxies to the networks of the proxies that end it." }}
{{- end }}
{{- $_ := set $settings "client" $client }}
{{- $_ := set $settings "ops" (dict "host" "0.0.0.0" "port" 9090) }}
{{- if .Values.admin.enabled }}
{{- $_ := set $settings "admin" (dict "bundle_folder" "/var/lib/oscc-gateway/bundles") }}
{{- end }}
{{- $_ := set $settings "notices" (dict "files" (list "/run/notices")) }}
{{- with include "oscc-gateway.bus" . | fromYaml }}
{{- $_ := set $settings "bus" (merge . (get $settings "bus" | default dict)) }}
{{- end }}
{{- range $section := keys $settings | sortAlpha }}
[{{ $section }}]
{{- include "oscc-gateway.table" (get $settings $section) }}
{{- end }}
{{- range .Values.sites }}
[[sites]]
{{- include "oscc-gateway.table" . }}
{{- end }}
{{- end }}

{{- /* The port of an address. */ -}}
{{- define "oscc-gateway.port" -}}
{{- $url := urlParse . }}
{{- $usual := dict "https" "443" "ami" "5038" "amis" "5039" }}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (get $usual $url.scheme | default "80") }}
{{- end }}

{{- /* Ports of the sites, once each. */ -}}
{{- define "oscc-gateway.sitePorts" -}}
{{- $ports := list }}
{{- range .Values.sites }}
{{- $ports = append $ports (include "oscc-gateway.port" .url) }}
{{- end }}
{{- $ports | uniq | sortAlpha | join " " }}
{{- end }}

{{- /* Of pods. OpenShift gives user and groups itself, out of the namespace's range, and refuses others. */ -}}
{{- define "oscc-gateway.podSecurity" -}}
{{- $context := .Values.podSecurityContext }}
{{- $openshift := .Values.openshift }}
{{- if or (eq (toString $openshift) "true") (and (eq (toString $openshift) "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) }}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" "fsGroupChangePolicy" }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{- define "oscc-gateway.testLabels" -}}
app.kubernetes.io/name: {{ include "oscc-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end }}
