export interface Permission {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  /** Of these alone. */
  readonly resourceNames?: readonly string[];
}

/** The Secret in which workers find what lets them in. */
export function joinSecretName(configMap: string): string {
  return `${configMap}-join`;
}

/** Everything that a controller does in the functions' namespace, and nothing else: what its Role has to grant. */
export function permissions(configMap: string): readonly Permission[] {
  return [
    { apiGroups: [''], resources: ['pods'], verbs: ['list', 'watch', 'create', 'patch', 'delete'] },
    { apiGroups: [''], resources: ['pods/resize'], verbs: ['patch'] },
    { apiGroups: ['apps'], resources: ['replicasets'], verbs: ['list', 'create', 'patch', 'delete'] },
    { apiGroups: [''], resources: ['events'], verbs: ['create'] },
    { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
    // Those of functions in containers of their own can be made, and never read.
    { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
    { apiGroups: [''], resources: ['secrets'], verbs: ['patch'], resourceNames: [joinSecretName(configMap)] },
    { apiGroups: [''], resources: ['configmaps'], verbs: ['get'], resourceNames: [configMap] },
  ];
}
