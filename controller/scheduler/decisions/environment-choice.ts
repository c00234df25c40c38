export interface IdleChoice<Environment> {
  /** The one that became idle first, and the one that became idle last. */
  readonly first: Environment | undefined;
  readonly last: Environment | undefined;
}

/**
 * Which idle environment of a version gets the next invocation: the most recently used, so that what is too many stays unused, grows
 * old and is stopped.
 */
export function chooseEnvironment<Environment>(idle: IdleChoice<Environment>): Environment | undefined {
  return idle.last;
}
