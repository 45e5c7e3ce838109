# Without the feature `web`: its page has packages of npm, whose checksums a lock file without addresses does not give nix.
# Builds the checkout that this file is in: nix-build -E 'with import <nixpkgs> { }; callPackage ./packaging/nix/package.nix { }'
{
  lib,
  stdenv,
  installShellFiles,
  rustPlatform,
}:

let
  manifest = lib.importTOML ../../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = manifest.package.name;
  version = manifest.workspace.package.version;

  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;
  buildFeatures = [ "nodes" ];
  cargoBuildFlags = [ "--package=fugue-server" ];
  # The other tests need programs and users that a build has not.
  cargoTestFlags = [
    "--package=fugue-server"
    "--lib"
  ];

  nativeBuildInputs = [ installShellFiles ];
  postInstall = ''
    install -Dm644 packaging/systemd/* -t $out/lib/systemd/user
    substituteInPlace $out/lib/systemd/user/*.service \
      --replace-quiet /usr/bin/ $out/bin/
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/fugue-server man pages
    installManPage pages/*.1
    for shell in bash zsh fish; do
      $out/bin/fugue-server completions $shell > completion
      installShellCompletion --cmd fugue-server --$shell completion
    done
  '';

  meta = {
    inherit (manifest.package) description;
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "fugue-server";
    platforms = lib.platforms.linux;
  };
}
