{{/* Name of the chart, for labels. */}}
{{- define "bailiwick.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of every object that isn't named by the API contract. "bailiwick" when the release is called so.
     40 characters leave room for the longest suffix. */}}
{{- define "bailiwick.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "bailiwick.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "bailiwick.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bailiwick.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "bailiwick.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: bailiwick
{{- end -}}

{{/* Call with (list $ "operator"). Immutable in a Deployment: nothing that changes between releases. */}}
{{- define "bailiwick.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "bailiwick.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "bailiwick.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.registry | empty | ternary $image.repository (printf "%s/%s" $image.registry $image.repository) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The name the API server knows the operator by. Native policies and webhook exempt exactly this one. */}}
{{- define "bailiwick.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "bailiwick.fullname" . }}-operator
{{- end -}}

{{- define "bailiwick.webhookConfiguration" -}}
{{- default (include "bailiwick.fullname" .) .Values.webhook.configurationName -}}
{{- end -}}

{{/* SelfSigned: the operator is the CA. External: cert-manager, or whoever made the given caBundle. */}}
{{- define "bailiwick.certificates" -}}
{{- or .Values.certManager.enabled (not (empty .Values.webhook.caBundle)) | ternary "External" "SelfSigned" -}}
{{- end -}}

{{/* DNS names or addresses that the API server dials, comma-separated. */}}
{{- define "bailiwick.certificateNames" -}}
{{- if .Values.webhook.url -}}
{{- (urlParse .Values.webhook.url).hostname | trimPrefix "[" | trimSuffix "]" -}}
{{- else -}}
{{- printf "%s-webhook.%s.svc" (include "bailiwick.fullname" .) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* "true" where Pods are stamped natively: MutatingAdmissionPolicy is v1 since Kubernetes 1.36. */}}
{{- define "bailiwick.podLabelStamping" -}}
{{- if eq (toString .Values.podLabelStamping) "auto" -}}
{{- and .Values.admissionPolicies.enabled (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) -}}
{{- else -}}
{{- .Values.podLabelStamping -}}
{{- end -}}
{{- end -}}

{{/* The configuration document; see ARCHITECTURE.md. */}}
{{- define "bailiwick.config" -}}
operatorUser: {{ include "bailiwick.operatorUser" . }}
namespace: {{ .Release.Namespace }}
{{ toYaml (set (deepCopy .Values.config) "reservedNamespaces" (include "bailiwick.moreReservedNamespaces" . | fromJsonArray)) }}
podLabelStamping: {{ include "bailiwick.podLabelStamping" . }}
apiFairness:
  tiers: {{ keys .Values.apiFairness.tiers | sortAlpha | toJson }}
  {{- with .Values.apiFairness.defaultTier }}
  defaultTier: {{ . }}
  {{- end }}
{{- end -}}

{{/* Namespaces that are reserved by values. A ClusterRoleBinding may name the ServiceAccounts of system namespaces unseen by
     the webhook: none of them may become a tenant's. */}}
{{- define "bailiwick.moreReservedNamespaces" -}}
{{- concat .Values.config.reservedNamespaces .Values.webhook.systemNamespaces | uniq | toJson -}}
{{- end -}}

{{/* Namespaces that are never a tenant's, as a JSON list (which is YAML and CEL as well). */}}
{{- define "bailiwick.reservedNamespaces" -}}
{{- concat (list "kube-system" "kube-public" "kube-node-lease" "default" .Release.Namespace) (include "bailiwick.moreReservedNamespaces" . | fromJsonArray) | uniq | toJson -}}
{{- end -}}

{{/* What both servers need to know about themselves. */}}
{{- define "bailiwick.env" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: BAILIWICK_CONFIG
  valueFrom:
    configMapKeyRef:
      name: {{ include "bailiwick.fullname" . }}-config
      key: config.yaml
{{- end -}}

{{/* Flags that both servers share. Call with (list $ .Values.operator). */}}
{{- define "bailiwick.args" -}}
{{- $root := index . 0 -}}
- --admin-address={{ (index . 1).bindAddress }}:8080
- --log-level={{ $root.Values.log.level }}
- --log-format={{ $root.Values.log.format }}
- --webhook-configuration={{ include "bailiwick.webhookConfiguration" $root }}
- --tls-secret={{ include "bailiwick.fullname" $root }}-webhook-tls
{{- end -}}

{{/* Pod settings that the restricted Pod Security Standard asks for. No user is fixed: the image has one, OpenShift brings its own. */}}
{{- define "bailiwick.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "bailiwick.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Nothing mounts a disk, so a Pod starts in seconds; a minute is for a node that is pulling many images. */}}
{{- define "bailiwick.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: admin
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /healthz
    port: admin
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* Replicas apart, counted per revision so that a rolling update spreads too. Call with (list $ "operator"). */}}
{{- define "bailiwick.topologySpread" -}}
{{- $selector := include "bailiwick.selectorLabels" . }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
{{- end }}
{{- end -}}
