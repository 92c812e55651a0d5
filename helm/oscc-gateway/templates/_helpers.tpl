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
{{- end }}

{{- define "oscc-gateway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
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

{{- /* What a pod may take to end: preStop + drain + margin. */ -}}
{{- define "oscc-gateway.grace" -}}
{{- $limits := .Values.settings.limits }}
{{- $drain := addf $limits.drain_notice_s $limits.drain_s }}
{{- $least := addf .Values.drain.preStopSeconds $drain .Values.drain.marginSeconds | ceil | int64 }}
{{- $given := .Values.drain.terminationGracePeriodSeconds }}
{{- if kindIs "invalid" $given -}}
{{ $least }}
{{- else if lt (int64 $given) $least -}}
{{ fail (printf "drain.terminationGracePeriodSeconds is %d, but preStop, drain and margin take %d s: nodes would be killed in the middle of their farewell." (int64 $given) $least) }}
{{- else -}}
{{ int64 $given }}
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

{{- define "oscc-gateway.config" -}}
{{- $settings := deepCopy .Values.settings }}
{{- $client := merge (dict "host" "0.0.0.0" "port" 8080) (get $settings "client" | default dict) }}
{{- if .Values.tls.existingSecret }}
{{- if $client.insecure }}
{{- fail "settings.client.insecure means clear text, and tls.existingSecret means TLS: take one of them away." }}
{{- end }}
{{- $client = merge (dict "certificate" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key") $client }}
{{- else if not (or $client.trusted_proxies $client.insecure) }}
{{- fail "How does TLS end? Set tls.existingSecret, or settings.client.trusted_proxies to the networks of whoever ends it." }}
{{- end }}
{{- $_ := set $settings "client" $client }}
{{- $_ := set $settings "ops" (dict "host" "0.0.0.0" "port" 9090) }}
{{- if .Values.admin.enabled }}
{{- $_ := set $settings "admin" (dict "bundle_folder" "/var/lib/oscc-gateway/bundles") }}
{{- end }}
{{- if .Values.notices }}
{{- $_ := set $settings "notices" (dict "files" (list "notices")) }}
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
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) }}
{{- end }}

{{- /* Ports of the sites, once each. */ -}}
{{- define "oscc-gateway.sitePorts" -}}
{{- $ports := list }}
{{- range .Values.sites }}
{{- $ports = append $ports (include "oscc-gateway.port" .url) }}
{{- end }}
{{- $ports | uniq | sortAlpha | join " " }}
{{- end }}

{{- define "oscc-gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "oscc-gateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "oscc-gateway.testLabels" -}}
app.kubernetes.io/name: {{ include "oscc-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end }}
