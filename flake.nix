# For Nix users: `nix run . -- demo`, `nix build`, `nix develop`.
#
# There is no flake.lock, and nobody has built this file where the project is developed (no nixpkgs can be had there):
# tests/flake.rs has the real Nix evaluate every output against a stub of nixpkgs, no more. `nix flake lock` pins it.
{
  description = "Quorix: install a Nix binary because enough independent builders got the same bytes";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      workspace = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).workspace.package;
    in
    {
      packages = forEachSystem (pkgs: rec {
        default = quorix;

        quorix = pkgs.rustPlatform.buildRustPackage {
          pname = "quorix";
          inherit (workspace) version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [ "--package=quorix" ];

          nativeBuildInputs = [
            # Sets LIBCLANG_PATH and the include path with which RocksDB's bindings are generated.
            pkgs.rustPlatform.bindgenHook
            pkgs.makeWrapper
          ];

          # The tests need a writable Nix store, Chromium and the whole workspace: `make test` runs them.
          doCheck = false;

          # The demo builds its packages with nothing but a static busybox; the user's own comes first.
          postFixup = ''
            wrapProgram $out/bin/quorix --suffix PATH : ${pkgs.pkgsStatic.busybox}/bin
          '';

          meta = {
            description = "Quorum over independent Nix builders: log, aggregator, resolver, dashboard";
            license = [
              nixpkgs.lib.licenses.mit
              nixpkgs.lib.licenses.asl20
            ];
            mainProgram = "quorix";
            platforms = systems;
          };
        };
      });

      apps = forEachSystem (pkgs: rec {
        default = quorix;

        quorix = {
          type = "app";
          program = "${self.packages.${pkgs.stdenv.hostPlatform.system}.quorix}/bin/quorix";
        };
      });

      # All that `make demo`, `make test`, `make lint` and `make deps` want; the Makefile enters it by itself on NixOS.
      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.quorix ];
          packages = [
            pkgs.cargo
            pkgs.cargo-deny
            pkgs.chromedriver
            pkgs.chromium
            pkgs.clippy
            pkgs.git
            pkgs.go
            pkgs.nix
            pkgs.pkgsStatic.busybox
            pkgs.rustc
            pkgs.rustfmt
            pkgs.util-linux
          ];
        };
      });
    };
}
