export function installFailure(said: string, folder: string): string;
