# The image holds three static binaries and nothing else. Any builder can use this file:
#   make image                                      (static binaries, then this file)
#   buildah build --isolation chroot --storage-driver vfs -t bailiwick .
# The binaries are made by `make image-binaries` for the musl target, outside the image.
FROM scratch
ARG BINARIES=target/x86_64-unknown-linux-musl/release
COPY ${BINARIES}/bailiwick-operator ${BINARIES}/bailiwick-webhook ${BINARIES}/bailiwick /
USER 65532:65532
ENTRYPOINT ["/bailiwick"]
