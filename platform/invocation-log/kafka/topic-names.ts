/** A delay topic, by how long a record stays in it at most. */
export type DelayTier = '1s' | '10s' | '1m' | '5m';

/** The topics that controllers read. Partition p of all of them belongs to the same controller. */
export type LogTopic = 'sync' | 'async' | 'overflow' | DelayTier;

export const DELAY_TIERS: readonly DelayTier[] = ['1s', '10s', '1m', '5m'];
/** Sync first: a fetch names partitions in this order, and the broker fills its answer in the order of the request. */
export const LOG_TOPICS: readonly LogTopic[] = ['sync', 'async', 'overflow', ...DELAY_TIERS];

export const TOPIC_PREFIX = 'sluice';

export interface TopicNames {
  readonly prefix: string;
  /** Where unreadable records go, with the reason. Not read by controllers. */
  readonly dead: string;
  /** The consumer group of the controllers. */
  readonly group: string;
  nameOf(topic: LogTopic): string;
  topicOf(name: string): LogTopic | undefined;
}

export function topicNames(prefix: string = TOPIC_PREFIX): TopicNames {
  const names = new Map<LogTopic, string>([
    ['sync', `${prefix}.invocations.sync`],
    ['async', `${prefix}.invocations.async`],
    ['overflow', `${prefix}.invocations.overflow`],
    ...DELAY_TIERS.map((tier): [LogTopic, string] => [tier, `${prefix}.delay.${tier}`]),
  ]);
  const topics = new Map([...names].map(([topic, name]) => [name, topic]));
  return {
    prefix,
    dead: `${prefix}.invocations.dead`,
    group: `${prefix}.controllers`,
    nameOf: (topic) => names.get(topic) ?? topic,
    topicOf: (name) => topics.get(name),
  };
}
