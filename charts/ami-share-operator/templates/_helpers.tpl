{{- define "ami-share-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of objects: short enough for "-leader-election" after it. */}}
{{- define "ami-share-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 47 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 47 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 47 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The name of objects that no namespace separates from those of another release. */}}
{{- define "ami-share-operator.clusterName" -}}
{{- $fullname := include "ami-share-operator.fullname" . }}
{{- if eq .Release.Namespace $fullname }}{{ $fullname }}{{ else }}{{ printf "%s-%s" .Release.Namespace $fullname }}{{ end }}
{{- end }}

{{- define "ami-share-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ami-share-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ami-share-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ami-share-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ami-share-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "ami-share-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether the operator has a configuration file. */}}
{{- define "ami-share-operator.hasConfiguration" -}}
{{- if or .Values.settings.guardrails .Values.settings.identities }}yes{{ end }}
{{- end }}

{{- define "ami-share-operator.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag }}
{{- .Values.image.repository }}:{{ $tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* What the operator may do with our kinds, in the cluster or in each watched namespace. AmiShares are created and deleted for the copies
of AmiDistributions; who sets blockOwnerDeletion needs to update the finalizers of the owner, where a cluster asks for that
(OwnerReferencesPermissionEnforcement). */}}
{{- define "ami-share-operator.rules" -}}
- apiGroups: [amishare.dev]
  resources: [amishares]
  verbs: [get, list, watch, patch{{ if .Values.settings.distributions }}, create, delete{{ end }}]
- apiGroups: [amishare.dev]
  resources: [amishares/status]
  verbs: [patch]
{{- if .Values.settings.distributions }}
- apiGroups: [amishare.dev]
  resources: [amidistributions]
  verbs: [get, list, watch, patch]
- apiGroups: [amishare.dev]
  resources: [amidistributions/finalizers]
  verbs: [update]
- apiGroups: [amishare.dev]
  resources: [amidistributions/status]
  verbs: [patch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
