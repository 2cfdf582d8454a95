# syntax=docker/dockerfile:1
# The operator's image: one static binary, certificate authorities, and a user that is not root. See docs/image.md.
#
# `make image` packs the same image without a Docker engine: from the files that `make rootfs` lays out here as there, and
# with the settings of the last stage below.

# The toolchain of rust-toolchain.toml, on the Debian whose glibc is tried: it is linked into the binary.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# Few layers of few files each: the tools and the crates stay in the builder's cache while only the sources change.
COPY Makefile rust-toolchain.toml ./
RUN make image-tools
COPY . .
RUN cargo fetch --locked
# Everything that is compiled is here by now.
RUN --network=none CARGO_NET_OFFLINE=true make rootfs ROOTFS=/rootfs

FROM scratch
ARG VERSION
LABEL org.opencontainers.image.title="ami-share-operator"
LABEL org.opencontainers.image.description="Shares golden AMIs from Kubernetes: who may launch an EC2 image, declared in Git and enforced continuously"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="$VERSION"
COPY --from=build /rootfs/ /
USER 65532:65532
ENTRYPOINT ["/amishare"]
