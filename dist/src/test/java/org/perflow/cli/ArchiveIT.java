package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.ArchiveEntry;
import org.apache.commons.compress.archivers.ArchiveInputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.archivers.zip.ZipArchiveInputStream;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;

/** The archives as a user gets them. */
class ArchiveIT {
  private static final String NAME = Main.VERSION.replace(' ', '-');
  private static final Path TARGET = Path.of("target").toAbsolutePath();

  /** Where archives are unpacked; in it the folder of the user who runs them. */
  @TempDir Path folder;

  private Path user;

  @BeforeEach
  void makeUser() throws IOException {
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
    user = Files.createDirectory(folder.resolve("user"));
    Files.setPosixFilePermissions(user, PosixFilePermissions.fromString("rwxrwxrwx"));
  }

  @Test
  void runsForAnotherUserFromAFolderThatNobodyCanWriteTo() throws Exception {
    Path home = unpack("linux-x86_64");
    List<Path> before = files(home);
    String java = System.getProperty("java.home");
    assertThat(perflow(home, java, "--help")).contains("Usage: perflow", "generate", "demo");
    perflow(home, java, "generate", "--prompt", "red apple", "--steps", "4", "--out", "apple.png");
    assertThat(user.resolve("apple.png")).isNotEmptyFile();
    assertThat(user.resolve(".cache/perflow/native")).isDirectory();
    assertThat(files(home)).isEqualTo(before);
    assertThat(Files.readString(home.resolve("lib/jvm.options"))).containsPattern("commit=\\w{7}");
  }

  @Test
  void servesUntilItIsTold() throws Exception {
    Path home = unpack("linux-x86_64");
    String java = System.getProperty("java.home");
    Process process =
        new ProcessBuilder(command(home, java, "serve", "--port", "0"))
            .directory(user.toFile())
            .redirectError(user.resolve("log").toFile())
            .start();
    try (BufferedReader out = process.inputReader()) {
      String said = out.readLine();
      assertThat(said).startsWith("perflow serves at http://127.0.0.1:");
      HttpRequest ask =
          HttpRequest.newBuilder(
                  URI.create(said.replaceFirst(".* at ", "") + "v1/images/generations"))
              .header("Content-Type", "application/json")
              .POST(BodyPublishers.ofString("{\"prompt\": \"red apple\"}"))
              .build();
      HttpResponse<String> answer = HttpClient.newHttpClient().send(ask, BodyHandlers.ofString());
      assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
      process.descendants().forEach(ProcessHandle::destroy);
      process.destroy(); // where nobody became another user
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(user.resolve("log")).content().contains("job over", "perflow stops");
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }

  @Test
  @Tag("slow")
  void showsTheDemo() throws Exception {
    Path home = unpack("linux-x86_64");
    perflow(home, System.getProperty("java.home"), "demo", "--short");
    assertThat(user.resolve("demo/report.html")).isNotEmptyFile();
  }

  @Test
  void runsWithItsOwnRuntimeWhereThereIsNoJava() throws Exception {
    Path home = unpack("linux-x86_64-runtime");
    String java = "/no/java/here";
    perflow(home, java, "generate", "--prompt", "red apple", "--steps", "4", "--out", "apple.png");
    assertThat(user.resolve("apple.png")).isNotEmptyFile();
  }

  @ParameterizedTest
  @CsvSource({
    "linux-x86_64, tar.gz, perflow",
    "macosx-arm64, tar.gz, perflow",
    "windows-x86_64, zip, perflow.bat"
  })
  void holdsWhatItsPlatformNeedsAndNoOthers(String platform, String format, String launcher)
      throws IOException {
    Map<String, Integer> modes = modes(platform, format);
    List<String> natives =
        modes.keySet().stream()
            .filter(file -> file.matches("lib/.*-(linux|macosx|windows)-\\w+[.]jar"))
            .toList();
    assertThat(natives)
        .hasSize(3)
        .allMatch(file -> file.endsWith("-" + platform + ".jar"))
        .anyMatch(file -> file.startsWith("lib/javacpp-"))
        .anyMatch(file -> file.startsWith("lib/openblas-"))
        .anyMatch(file -> file.startsWith("lib/pytorch-"));
    assertThat(modes.keySet().stream().filter(file -> file.startsWith("bin/")))
        .containsExactly("bin/" + launcher);
    if (format.equals("tar.gz")) {
      assertThat(modes.get("bin/perflow") & 0111).isEqualTo(0111);
    }
    assertThat(modes)
        .containsKeys(
            "LICENSE",
            "THIRD-PARTY.txt",
            "lib/jvm.options",
            "lib/" + NAME.replace("perflow-", "perflow-cli-") + ".jar",
            "models/emoji-64/model_index.json",
            "models/emoji-64-perflow/model_index.json",
            "models/emoji-features/config.json",
            "data/emoji-64/test.tar",
            "share/bash-completion/completions/perflow",
            "share/man/man1/perflow.1");
  }

  @Test
  void everyOptionStandsInAManPageAndInTheCompletion() throws IOException {
    String completion = Files.readString(TARGET.resolve("guides/completion/perflow"));
    for (CommandLine command : commands(Main.commandLine())) {
      String name = command.getCommandSpec().qualifiedName("-");
      String page = Files.readString(TARGET.resolve("man/" + name + ".1"));
      assertThat(page).as(name).contains(".TH ").doesNotContain("=_"); // AsciiDoc left over
      for (OptionSpec option : command.getCommandSpec().options()) {
        if (!option.hidden()) {
          assertThat(page).as(name).contains(option.longestName().replace("-", "\\-"));
          assertThat(completion).as(name).contains(option.longestName());
        }
      }
    }
  }

  private static List<CommandLine> commands(CommandLine command) {
    List<CommandLine> all = new ArrayList<>(List.of(command));
    command.getSubcommands().values().forEach(sub -> all.addAll(commands(sub)));
    return all;
  }

  /** Unpacks an archive and takes everybody's right to write to it away. */
  private Path unpack(String platform) throws Exception {
    assumeTrue(System.getProperty("os.name").equals("Linux"), "this archive is for Linux");
    Path archive = TARGET.resolve(NAME + "-" + platform + ".tar.gz");
    run("tar", "--extract", "--file", archive.toString(), "--directory", folder.toString());
    Path home = folder.resolve(NAME);
    run("chmod", "--recursive", "a-w", home.toString());
    return home;
  }

  /**
   * What perflow printed, in the user's folder. Root, whom no mode keeps from writing, becomes
   * nobody; who may not become another user runs it himself.
   */
  private String perflow(Path home, String java, String... arguments) throws Exception {
    return run(command(home, java, arguments).toArray(String[]::new));
  }

  private List<String> command(Path home, String java, String... arguments) {
    List<String> command = new ArrayList<>();
    if (System.getProperty("user.name").equals("root")) {
      command.addAll(List.of("runuser", "-u", "nobody", "--"));
    }
    command.addAll(List.of("env", "-i", "PATH=/usr/bin:/bin", "HOME=" + user));
    command.addAll(List.of("JAVA_HOME=" + java, home.resolve("bin/perflow").toString()));
    command.addAll(List.of(arguments));
    return command;
  }

  private String run(String... command) throws Exception {
    Process process =
        new ProcessBuilder(command).directory(user.toFile()).redirectErrorStream(true).start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as("%s%n%s", List.of(command), printed).isZero();
    return printed;
  }

  private static List<Path> files(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.sorted().toList();
    }
  }

  /** Of the files below the one folder of an archive; 0 in a zip. */
  private static Map<String, Integer> modes(String platform, String format) throws IOException {
    Map<String, Integer> modes = new LinkedHashMap<>();
    Path archive = TARGET.resolve(NAME + "-" + platform + "." + format);
    try (InputStream file = Files.newInputStream(archive);
        ArchiveInputStream<?> entries =
            format.equals("zip")
                ? new ZipArchiveInputStream(file)
                : new TarArchiveInputStream(new GzipCompressorInputStream(file))) {
      for (ArchiveEntry e = entries.getNextEntry(); e != null; e = entries.getNextEntry()) {
        assertThat(e.getName()).startsWith(NAME + "/");
        if (!e.isDirectory()) {
          int mode = e instanceof TarArchiveEntry tar ? tar.getMode() : 0;
          modes.put(e.getName().substring(NAME.length() + 1), mode);
        }
      }
    }
    return modes;
  }
}
