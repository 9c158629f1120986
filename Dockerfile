# Debian and glibc: the platform that the tests run on. Node's builds for musl (Alpine) are experimental.
FROM node:26-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src ./src
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:26-bookworm-slim
ENV NODE_ENV=production
# Nothing here installs anything: without a package manager there is less to misuse.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /opt/yarn-*
WORKDIR /app
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist/src ./dist/src
COPY config ./config
COPY LICENSE ./
# A number, so that Kubernetes' runAsNonRoot can tell that it is not root. Certificates, keys and configuration are
# mounted and must be readable for it; nothing in the image is writable for it.
USER 10001:10001
EXPOSE 8443 9902
# Needs `health: { address: 127.0.0.1:9902 }` or 0.0.0.0:9902 in the configuration.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "/app/dist/src/main.js", "health"]
ENTRYPOINT ["node", "/app/dist/src/main.js"]
CMD ["run", "-c", "/etc/countersign/countersign.yaml"]
