# The worker and the drctl command in one image. GNU tar, with xattrs and ACLs, is what the files engine runs; PostgreSQL's
# server programs are only needed on workers that restore PostgreSQL.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=optional
COPY . .
RUN npm run build && node dist/workers/bundle.js && npm prune --omit=dev --omit=optional

FROM node:24-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends tar zstd ca-certificates postgresql-15 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o node -g node /var/lib/drctl /etc/drctl
ENV NODE_ENV=production PATH=/app:/usr/lib/postgresql/15/bin:$PATH
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/scripts ./scripts
COPY --from=build /app/drctl ./drctl
COPY --from=build /app/config/drctl.schema.json /app/config/examples ./config/
USER node
VOLUME /var/lib/drctl
ENTRYPOINT ["node", "--enable-source-maps", "dist/workers/main.js"]
CMD ["--config", "/etc/drctl/drctl.yaml", "--site", "dr"]
