# At a release, `url` gets the address of the source archive and `sha256` its checksum. Neither exists before that, and
# brew refuses what stands here.
class FugueServer < Formula
  desc "Terminal session server that loses no byte silently"
  url "the address of fugue-server-0.1.0.tar.gz"
  sha256 "its checksum"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "node" => :build
  depends_on "rust" => :build
  depends_on :linux # ARCHITECTURE.md says what macOS would take

  def install
    system "npm", "ci", "--prefix", "src/web/page", "--ignore-scripts"
    system "cargo", "install", *std_cargo_args(features: ["web", "nodes"])
    system bin/"fugue-server", "man", man1
    generate_completions_from_executable(bin/"fugue-server", "completions", shells: [:bash, :zsh, :fish])
  end

  service do
    run [opt_bin/"fugue-server", "serve"]
    keep_alive crashed: true
  end

  test do
    ENV["FUGUE_SOCKET"] = testpath/"fugue/server.sock"
    system bin/"fugue-server", "new", "greeting", "-d", "--", "echo", "hello"
    assert_match "hello", shell_output("#{bin}/fugue-server attach greeting")
    system bin/"fugue-server", "stop"
  end
end
