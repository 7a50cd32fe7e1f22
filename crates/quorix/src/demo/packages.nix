# The small package set of the demo. Everything is built by one static busybox, so nothing is downloaded.
let
  busybox = builtins.path { path = ./busybox; name = "busybox"; };
  notes = builtins.toFile "notes.txt" "A file that is named after its content needs no votes.\n";
  package = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "${busybox}/bin/sh";
    PATH = "${busybox}/bin";
    args = [ "-ec" "mkdir -p $out; ${script}" ];
  };
in
rec {
  # Same bytes everywhere.
  greeting = package "greeting-1.0" "echo 'Hello, world' > $out/greeting";
  # Takes over what the greeting says: wrong bytes in, wrong bytes out.
  hello = package "hello-2.12" ''
    mkdir $out/bin
    { echo '#!${busybox}/bin/sh'; echo "echo '$(cat ${greeting}/greeting)'"; } > $out/bin/hello
    chmod +x $out/bin/hello
    ln -s ${greeting} $out/greeting
  '';
  # Refers to a content-addressed file that nobody votes on.
  manual = package "manual-1.0" "ln -s ${notes} $out/notes; echo 'See notes.' > $out/manual";
  # Different bytes at each build.
  clock = package "clock-0.9" "date +%s%N > $out/built; head -c 8 /dev/urandom | od >> $out/built";
  # Same bytes everywhere, but it refers to the clock.
  alarm = package "alarm-0.9" "echo 'ring ${clock}' > $out/alarm";
}
