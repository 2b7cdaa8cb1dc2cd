{{/*
Shared by the native policies.
  - Names are fixed, because they are cluster-scoped and there is one Bailiwick in a cluster. Each contains "bailiwick", so
    that a denial says whose it is. `reason: Forbidden` makes it a 403.
  - Each validation has a `message` beside its messageExpression: the API server falls back to it when the expression yields
    a line break or 5 KiB, which a subject's name can bring about, and the rule id must survive that.
  - A parameter is looked up before matchConditions are read, and its kind is unknown for half a minute after an API server
    starts, or for good without the CRD. So what must pass in that state is kept out by a selector, or the policy says Ignore;
    a matchCondition is of no use.
*/}}

{{/* Binding of a policy without parameters, in every matching namespace. Call with its name. */}}
{{- define "bailiwick.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ . }}
spec:
  policyName: {{ . }}
  validationActions: [Deny]
{{- end -}}

{{/* Binding to the TenancyIndex. Call with (list NAME NOT-FOUND-ACTION). */}}
{{- define "bailiwick.indexedPolicyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 0 }}
spec:
  policyName: {{ index . 0 }}
  validationActions: [Deny]
  paramRef:
    name: bailiwick
    parameterNotFoundAction: {{ index . 1 }}
{{- end -}}

{{- define "bailiwick.notTheOperator" -}}
- name: not-the-operator
  expression: "request.userInfo.username != '{{ include "bailiwick.operatorUser" . }}'"
{{- end -}}

{{/* The index, with empty for what the operator leaves out. Variables are computed when first read, so a policy may have all. */}}
{{- define "bailiwick.indexVariables" -}}
- name: namespaces
  expression: params.spec.?namespaces.orValue({})
- name: users
  expression: params.spec.?users.orValue({})
- name: groups
  expression: params.spec.?groups.orValue({})
- name: userPrefixes
  expression: params.spec.?userPrefixes.orValue([])
- name: groupPrefixes
  expression: params.spec.?groupPrefixes.orValue([])
- name: ambiguousUsers
  expression: params.spec.?ambiguous.?users.orValue([])
- name: ambiguousGroups
  expression: params.spec.?ambiguous.?groups.orValue([])
{{- end -}}

{{/* Whether the namespace controller empties a namespace that is ending, with and without --use-service-account-credentials. */}}
{{- define "bailiwick.cleanupVariable" -}}
- name: cleanup
  expression: >-
    request.operation == 'DELETE' &&
    request.userInfo.username in ['system:kube-controller-manager', 'system:serviceaccount:kube-system:namespace-controller'] &&
    namespaceObject != null && has(namespaceObject.metadata.deletionTimestamp)
{{- end -}}

{{/* Whether the requester belongs to a tenant: ofTenant. Needs the variables of the index. */}}
{{- define "bailiwick.requesterVariables" -}}
- name: user
  expression: request.userInfo.username
- name: userGroups
  expression: request.userInfo.?groups.orValue([])
- name: ofTenant
  expression: >-
    variables.user in variables.users || variables.user in variables.ambiguousUsers ||
    variables.userPrefixes.exists(p, variables.user.startsWith(p.prefix)) ||
    variables.userGroups.exists(g, g in variables.groups || g in variables.ambiguousGroups ||
    g.startsWith('system:serviceaccounts:') && g.substring(23) in variables.namespaces ||
    variables.groupPrefixes.exists(p, g.startsWith(p.prefix))) ||
    variables.user.startsWith('system:serviceaccount:') && variables.user.split(':').size() == 4 &&
    variables.user.split(':')[2] in variables.namespaces
{{- end -}}

{{/* The tenant that the requester belongs to: tenant, and empty for nobody's and for somebody of several; of is whether there is any.
     That a tenant has a ServiceAccount in a namespace of the platform makes none of the others there its own. Needs the variables of
     the index. */}}
{{- define "bailiwick.requesterTenant" -}}
- name: user
  expression: request.userInfo.username
- name: userGroups
  expression: request.userInfo.?groups.orValue([])
- name: account
  expression: >-
    variables.user.matches('^system:serviceaccount:[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') ? variables.user.split(':')[2] : ''
- name: tenantsOf
  expression: >-
    (variables.user in variables.users ? [string(variables.users[variables.user])] : []) +
    (variables.account in variables.namespaces ? [string(variables.namespaces[variables.account])] : []) +
    variables.userPrefixes.filter(p, variables.user.startsWith(p.prefix)).map(p, string(p.tenant)) +
    variables.userGroups.filter(g, !g.startsWith('system:') && g in variables.groups).map(g, string(variables.groups[g])) +
    variables.userGroups.filter(g, g.startsWith('system:serviceaccounts:') && g.substring(23) in variables.namespaces).map(g,
    string(variables.namespaces[g.substring(23)])) +
    variables.groupPrefixes.filter(p, variables.userGroups.exists(g, !g.startsWith('system:') && g.startsWith(p.prefix))).map(p, string(p.tenant))
- name: several
  expression: >-
    variables.tenantsOf.exists(t, t != variables.tenantsOf[0]) || variables.user in variables.ambiguousUsers ||
    variables.userGroups.exists(g, !g.startsWith('system:') && g in variables.ambiguousGroups)
- name: tenant
  expression: "variables.tenantsOf.size() == 0 || variables.several ? '' : variables.tenantsOf[0]"
- name: selfService
  expression: params.spec.?selfService.orValue({})
{{- end -}}

{{/* Where what is in a namespace runs and lies: the placement, empty for none, its regions, and topology, the labels of nodes that prove
     each region. Call with the expression of the namespace's name. */}}
{{- define "bailiwick.placementVariables" -}}
- name: placedTenant
  expression: string(params.spec.?namespaces.orValue({})[?string({{ . }})].orValue(''))
- name: placementOfTenant
  expression: params.spec.?placements.orValue({})[?variables.placedTenant].orValue({})
- name: placement
  expression: >-
    string({{ . }}) in variables.placementOfTenant.?exceptNamespaces.orValue([]) ? {} : variables.placementOfTenant
- name: regions
  expression: variables.placement.?regions.orValue([])
- name: topology
  expression: params.spec.?topology.orValue({})
{{- end -}}

{{/* Whether the expression e of a node selector proves that the node is within. Needs the variables of the placement. */}}
{{- define "bailiwick.isWithin" -}}
e.operator == 'In' && e.?values.orValue([]).size() > 0 &&
e.values.all(v, variables.regions.exists(r, v in variables.topology[?r][?e.key].orValue([])))
{{- end -}}

{{/* What decides which revision of a TenantPolicy serves: fields of its spec. How it is rolled out isn't among them. */}}
{{- define "bailiwick.policyContent" -}}
['tenants', 'tenantSelector', 'match', 'enforcement', 'parameters', 'rego', 'libs', 'regoVersion', 'pack', 'tests', 'limits', 'approvals', 'exceptions', 'revision']
{{- end -}}

{{/* A subject s in one form, so that a ServiceAccount is the same however it was written: "group NAME" or "user NAME", and
     a ServiceAccount is user system:serviceaccount:NAMESPACE:NAME, of the binding's namespace when it names none. */}}
{{- define "bailiwick.subjectKey" -}}
s.kind == 'Group' ? 'group ' + string(s.name) : s.kind != 'ServiceAccount' ? 'user ' + string(s.name) :
    'user system:serviceaccount:' + (s.?namespace.orValue('') != '' ? string(s.namespace) : string(request.?namespace.orValue(''))) +
    ':' + string(s.name)
{{- end -}}

{{/*
Subjects of a binding. Those that were there before stay, so a policy asks last for `!(s.key in variables.before)`. All text:
  shown     as the requester wrote it
  key       see above
  user      its name if it is a user, else empty
  group     its name if it is a group, else empty
  account   the namespace of a ServiceAccount, if Kubernetes could give it that name
  accounts  the namespace of a group of ServiceAccounts
*/}}
{{- define "bailiwick.subjectVariables" -}}
# Spares a long binding from being judged when something else of it changes.
- name: unchanged
  expression: oldObject != null && object.?subjects.orValue([]) == oldObject.?subjects.orValue([])
- name: before
  expression: >-
    (oldObject == null ? [] : oldObject.?subjects.orValue([])).map(s,
    {{ include "bailiwick.subjectKey" . }})
- name: keys
  expression: >-
    object.?subjects.orValue([]).map(s, {
    'shown': string(s.kind) + ' "' + (s.?namespace.orValue('') == '' ? '' : string(s.namespace) + '/') + string(s.name) + '"',
    'key': {{ include "bailiwick.subjectKey" . }}})
- name: names
  expression: >-
    variables.keys.map(s, {'shown': s.shown, 'key': s.key,
    'user': s.key.startsWith('user ') ? s.key.substring(5) : '', 'group': s.key.startsWith('group ') ? s.key.substring(6) : ''})
- name: subjects
  expression: >-
    variables.names.map(s, {'shown': s.shown, 'key': s.key, 'user': s.user, 'group': s.group,
    'account': s.user.matches('^system:serviceaccount:[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') ? s.user.split(':')[2] : '',
    'accounts': s.group.matches('^system:serviceaccounts:[a-z0-9]([-a-z0-9]*[a-z0-9])?$') ? s.group.substring(23) : ''})
# Everybody, and so every tenant.
- name: everybody
  expression: >-
    variables.subjects.filter(s, s.user == 'system:anonymous' ||
    s.group in ['system:authenticated', 'system:unauthenticated', 'system:serviceaccounts']).map(s, s.key)
{{- end -}}
