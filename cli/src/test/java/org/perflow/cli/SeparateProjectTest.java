package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Builds of somebody else's with nothing but the snippets of the README and of docs/install.md, on
 * a local repository of their own: our modules are installed into it, libraries come from the
 * repository of this build where they are there, else from Maven Central.
 */
class SeparateProjectTest {
  private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();
  private static final Path README = ROOT.resolve("README.md");
  private static final Path INSTALL = ROOT.resolve("docs/install.md");
  private static final Path REPOSITORY = Path.of("target/separate-repository").toAbsolutePath();
  private static final Path SERVING = ROOT.resolve("docs/serving.md");
  private static final List<String> MODULES = List.of("tensor", "io", "models", "flow", "train");
  private static final List<String> SERVE = List.of("tensor", "io", "models", "flow", "serve");
  private static final boolean SLOW = System.getProperty("slow") != null;

  @TempDir static Path shared;
  @TempDir Path project;

  @BeforeAll
  static void install() throws Exception {
    assumeTrue(System.getProperty("maven.home") != null, "run by Maven, which says where it is");
    mvn(
        ROOT,
        "install",
        "--projects=train,serve,bom",
        "--also-make",
        // by age alone, so that what the build under way has compiled is taken as it is
        "-Dmaven.compiler.useIncrementalCompilation=false",
        "-Dmaven.test.skip",
        "-Dspotless.check.skip",
        "-Dmaven.javadoc.skip=" + !SLOW);
  }

  @Test
  void installsSourcesAndJavadoc() throws IOException {
    String version = Main.VERSION.replace("perflow ", "");
    for (String module : List.of("tensor", "io", "models", "flow", "train", "serve")) {
      String name = "perflow-" + module;
      Path folder = REPOSITORY.resolve("org/perflow").resolve(name).resolve(version);
      assertThat(folder.resolve(name + "-" + version + ".jar")).isNotEmptyFile();
      assertThat(folder.resolve(name + "-" + version + "-sources.jar")).isNotEmptyFile();
      if (SLOW) {
        assertThat(folder.resolve(name + "-" + version + "-javadoc.jar")).isNotEmptyFile();
      }
    }
  }

  @Test
  void drawsWithMavensSnippets() throws Exception {
    String dependency = block(README, "xml", 0).replaceAll("<!--.*?-->", "");
    assertThat(dependency).isEqualToIgnoringWhitespace(block(INSTALL, "xml", 0));
    writeProgram("Apple", MODULES, block(README, "java", 0));
    writePom("<dependencies>%s</dependencies>".formatted(dependency));
    String libraries = compiledClassPath();
    draw(project.resolve("target/classes"), libraries);

    writePom(block(INSTALL, "xml", 1)); // with the BOM
    assertThat(compiledClassPath().split(File.pathSeparator))
        .containsExactlyInAnyOrder(libraries.split(File.pathSeparator));

    Stream<String> gradle =
        Pattern.compile("org.bytedeco:(.*?):(.*?):\\$natives")
            .matcher(block(INSTALL, "groovy", 0))
            .results()
            .map(named -> "%s-%s-%s.jar".formatted(named.group(1), named.group(2), platform()));
    assertThat(gradle).hasSize(3).allMatch(libraries::contains);
  }

  @Test
  @Tag("slow")
  void servesWithTheSnippetsOfServing() throws Exception {
    writeProgram("Server", SERVE, block(SERVING, "java", 0));
    writePom("<dependencies>%s</dependencies>".formatted(block(SERVING, "xml", 0)));
    String libraries = compiledClassPath();
    String classes = project.resolve("target/classes") + File.pathSeparator + libraries;
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    assertThat(run(project, List.of(java, "-cp", classes, "Server"))).contains("http://127.0.0.1:");
  }

  @Test
  @Tag("slow")
  void drawsWithGradlesSnippet() throws Exception {
    assumeTrue(
        Stream.of(System.getenv("PATH").split(File.pathSeparator))
            .anyMatch(folder -> Files.isExecutable(Path.of(folder, "gradle"))),
        "there is no gradle on the PATH");
    writeProgram("Apple", MODULES, block(README, "java", 0));
    Files.writeString(project.resolve("settings.gradle"), "");
    Files.writeString(
        project.resolve("build.gradle"),
        """
        apply plugin: 'java'
        %s
        task classPath { doLast { println sourceSets.main.runtimeClasspath.asPath } }
        """
            .formatted(block(INSTALL, "groovy", 0).replace("linux-x86_64", platform())));
    String printed =
        run(
            project,
            List.of(
                "gradle",
                "--quiet",
                "--no-daemon",
                "--gradle-user-home=" + project.resolve("gradle"),
                "-Dmaven.repo.local=" + REPOSITORY, // Gradle's mavenLocal() too
                "classes",
                "classPath"));
    draw(Path.of(""), printed.lines().reduce("", (before, line) -> line));
  }

  /** A page's program: its packages are whatever the modules have. */
  private void writeProgram(String name, List<String> modules, String code) throws IOException {
    StringBuilder source =
        new StringBuilder(
            "import java.awt.image.*;\nimport java.nio.file.*;\nimport java.util.*;\n");
    for (String module : modules) {
      Path sources = ROOT.resolve(module).resolve("src/main/java");
      try (Stream<Path> files = Files.walk(sources)) {
        files
            .filter(file -> file.endsWith("package-info.java"))
            .map(
                file ->
                    sources.relativize(file.getParent()).toString().replace(File.separator, "."))
            .forEach(each -> source.append("import %s.*;%n".formatted(each)));
      }
    }
    source.append("class %s {%n  public static void main(String[] args)".formatted(name));
    source.append(" throws Exception {\n").append(code).append("  }\n}\n");
    Path folder = Files.createDirectories(project.resolve("src/main/java"));
    Files.writeString(folder.resolve(name + ".java"), source);
    Files.createSymbolicLink(project.resolve("models"), ROOT.resolve("models"));
  }

  private void writePom(String dependencies) throws IOException {
    Files.writeString(
        project.resolve("pom.xml"),
        """
        <project>
          <modelVersion>4.0.0</modelVersion>
          <groupId>org.example</groupId>
          <artifactId>apple</artifactId>
          <version>1</version>
          <properties>
            <maven.compiler.release>17</maven.compiler.release>
            <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
          </properties>
          %s
          <build>
            <pluginManagement>
              <plugins> <!-- as in our own build, which has fetched them -->
                <plugin>
                  <artifactId>maven-compiler-plugin</artifactId>
                  <version>3.14.0</version>
                </plugin>
                <plugin>
                  <artifactId>maven-dependency-plugin</artifactId>
                  <version>3.8.1</version>
                </plugin>
                <plugin>
                  <artifactId>maven-resources-plugin</artifactId>
                  <version>3.3.1</version>
                </plugin>
              </plugins>
            </pluginManagement>
          </build>
        </project>
        """
            .formatted(dependencies));
  }

  /** The libraries that the project was compiled with. */
  private String compiledClassPath() throws Exception {
    Path file = project.resolve("class-path");
    mvn(project, "compile", "dependency:build-classpath", "-Dmdep.outputFile=" + file);
    return Files.readString(file);
  }

  private void draw(Path classes, String libraries) throws Exception {
    assertThat(libraries).contains(REPOSITORY.resolve("org/perflow/perflow-train").toString());
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    run(project, List.of(java, "-cp", classes + File.pathSeparator + libraries, "Apple"));
    assertThat(project.resolve("apple.png")).isNotEmptyFile();
  }

  /** The Maven that runs this test, on the repository of our own. */
  private static void mvn(Path folder, String... goalsAndOptions) throws Exception {
    String mvn = platform().startsWith("windows") ? "mvn.cmd" : "mvn";
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("maven.home"), "bin", mvn).toString());
    command.addAll(List.of("--batch-mode", "--quiet", "--global-settings=" + settings()));
    command.add("-Dmaven.repo.local=" + REPOSITORY);
    command.addAll(List.of(goalsAndOptions));
    run(folder, command);
  }

  /** Asks this build's repository before Maven Central. */
  private static Path settings() throws IOException {
    String repository =
        """
        <id>here</id>
        <url>%s</url>
        <releases>
          <checksumPolicy>ignore</checksumPolicy> <!-- they were checked when it was filled -->
        </releases>
        <snapshots>
          <enabled>false</enabled>
        </snapshots>
        """
            .formatted(Path.of(System.getProperty("maven.repository")).toUri());
    return Files.writeString(
        shared.resolve("settings.xml"),
        """
        <settings>
          <profiles>
            <profile>
              <id>here</id>
              <repositories>
                <repository>%1$s</repository>
              </repositories>
              <pluginRepositories>
                <pluginRepository>%1$s</pluginRepository>
              </pluginRepositories>
            </profile>
          </profiles>
          <activeProfiles>
            <activeProfile>here</activeProfile>
          </activeProfiles>
        </settings>
        """
            .formatted(repository));
  }

  /** The classifier of the natives that this test itself runs with. */
  private static String platform() {
    return Pattern.compile("javacpp-[\\d.]+-([a-z]+-\\w+)\\.jar")
        .matcher(System.getProperty("java.class.path"))
        .results()
        .map(match -> match.group(1))
        .findFirst()
        .orElseThrow();
  }

  /** The text of the {@code index}th block of that language. */
  private static String block(Path page, String language, int index) throws IOException {
    List<MatchResult> blocks =
        Pattern.compile("```" + language + "\n(.*?)```", Pattern.DOTALL)
            .matcher(Files.readString(page))
            .results()
            .toList();
    assertThat(blocks).as("%s of %s", language, page).hasSizeGreaterThan(index);
    return blocks.get(index).group(1);
  }

  /** What it printed; it must succeed. */
  private static String run(Path folder, List<String> command) throws Exception {
    Process process =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as("%s%n%s", command, printed).isZero();
    return printed;
  }
}
