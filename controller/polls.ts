import type { Assignment, ControllerLink, EnvironmentPoll } from '../platform/protocol/controller-link.ts';
import type { SchedulerEvent } from './scheduler/messages.ts';

/** The workers' side of the controller: environments that were started and not gone, and the polls that they hold open. */
export class Polls implements ControllerLink {
  /** The resolver of the outstanding poll, by environment; undefined while it works or starts. */
  private readonly outstanding = new Map<string, ((assignment: Assignment) => void) | undefined>();
  private readonly submit: (event: SchedulerEvent) => void;

  constructor(submit: (event: SchedulerEvent) => void) {
    this.submit = submit;
  }

  get size(): number {
    return this.outstanding.size;
  }

  next: ControllerLink['next'] = (poll) => {
    const { environmentId } = poll;
    return new Promise((resolve) => {
      if (!this.outstanding.has(environmentId)) {
        resolve({ kind: 'stop' });
        return;
      }
      // A second poll takes the place of the first, which nobody can be waiting for any more.
      this.answer(environmentId, { kind: 'stop' });
      this.outstanding.set(environmentId, resolve);
      this.submit(eventOf(poll));
    });
  };

  responded: ControllerLink['responded'] = (environmentId) => this.submit({ kind: 'responded', environmentId });

  gone: ControllerLink['gone'] = (departure) => {
    const { environmentId } = departure;
    if (!this.outstanding.has(environmentId)) return;
    this.answer(environmentId, { kind: 'stop' });
    this.outstanding.delete(environmentId);
    this.submit({ kind: 'environmentGone', departure });
  };

  /** An environment is about to be started, or was taken over. */
  expect(environmentId: string): void {
    this.outstanding.set(environmentId, undefined);
  }

  /** The environment is another controller's now: nobody answers it from here any more. */
  forget(environmentId: string): void {
    this.outstanding.delete(environmentId);
  }

  /** The poll that is outstanding now, as a token: {@link answer} it only while it is the same. */
  current(environmentId: string): unknown {
    return this.outstanding.get(environmentId);
  }

  /** Answers the outstanding poll, if there is one. */
  answer(environmentId: string, assignment: Assignment): void {
    const resolve = this.outstanding.get(environmentId);
    if (resolve === undefined) return;
    this.outstanding.set(environmentId, undefined);
    resolve(assignment);
  }
}

function eventOf(poll: EnvironmentPoll): SchedulerEvent {
  const { environmentId } = poll;
  switch (poll.kind) {
    case 'initialized':
      return { kind: 'environmentReady', environmentId };
    case 'initFailed':
      return { kind: 'initFailed', environmentId, errorBody: poll.errorBody };
    case 'completed':
      return { kind: 'invocationDone', environmentId, completion: poll.completion };
  }
}
