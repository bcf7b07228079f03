package org.perflow.accelerate;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.perflow.delta.Provenance;
import org.perflow.io.Installation;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Device;

/**
 * What this machine is, what of it is used and why, and what would make it faster: what a report of
 * a fault needs.
 *
 * <pre>{@code
 * Doctor found = Doctor.look();
 * found.advice().forEach(System.out::println);
 * }</pre>
 *
 * @param sections facts by name, by section, in order
 * @param advice sentences, none where nothing is to be said
 */
public record Doctor(Map<String, Map<String, String>> sections, List<String> advice) {
  /** Instruction sets that decide over speed, the flags of Linux that name them. */
  private static final Map<String, String> FEATURES =
      new TreeMap<>(
          Map.of(
              "avx2", "AVX2",
              "avx512f", "AVX-512",
              "avx512_bf16", "AVX-512 BF16",
              "amx_bf16", "AMX BF16",
              "asimd", "NEON",
              "sve", "SVE",
              "bf16", "BF16"));

  private static final Path HUGE_PAGES = Path.of("/sys/kernel/mm/transparent_hugepage/enabled");
  private static final long SCARCE = 4L << 30;

  /** Measures the compute type where that was never done on this machine. */
  public static Doctor look() {
    Map<String, Map<String, String>> sections = new LinkedHashMap<>();
    List<String> advice = new ArrayList<>();
    sections.put("software", software());
    sections.put("processor", processor(advice));
    sections.put("memory", memory(advice));
    sections.put("computing", computing());
    sections.put("libraries", Device.libraries());
    sections.put("gpu", gpu(advice));
    sections.put("files", files(advice));
    return new Doctor(sections, List.copyOf(advice));
  }

  private static Map<String, String> software() {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("perflow", Provenance.software());
    facts.put("java", System.getProperty("java.vendor") + ", " + System.getProperty("java.home"));
    facts.put(
        "system",
        "%s %s, %s"
            .formatted(
                System.getProperty("os.name"),
                System.getProperty("os.version"),
                System.getProperty("os.arch")));
    return facts;
  }

  private static Map<String, String> processor(List<String> advice) {
    Map<String, String> facts = new LinkedHashMap<>();
    Map<String, String> cpu = keyed(Path.of("/proc/cpuinfo"));
    facts.put("name", cpu.getOrDefault("model name", "not said by the system"));
    List<String> flags =
        List.of((cpu.getOrDefault("flags", "") + cpu.getOrDefault("Features", "")).split("\\s+"));
    facts.put(
        "instruction sets",
        FEATURES.entrySet().stream()
            .filter(feature -> flags.contains(feature.getKey()))
            .map(Map.Entry::getValue)
            .collect(Collectors.joining(", ")));
    int cores = Runtime.getRuntime().availableProcessors();
    facts.put("cores", Integer.toString(cores));
    facts.put("threads used", Integer.toString(Device.threads()));
    if (Device.threads() < cores) {
      advice.add(
          "only %d of %d cores are used: OMP_NUM_THREADS says so"
              .formatted(Device.threads(), cores));
    }
    double load = ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
    facts.put("load", load < 0 ? "not said" : String.format(Locale.ROOT, "%.1f", load));
    if (load > cores + 1) {
      advice.add(
          "%.0f processes want %d cores: other work makes all times longer".formatted(load, cores));
    }
    return facts;
  }

  private static Map<String, String> memory(List<String> advice) {
    Map<String, String> facts = new LinkedHashMap<>();
    if (ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system) {
      facts.put("machine", gigabytes(system.getTotalMemorySize()));
      String available = keyed(Path.of("/proc/meminfo")).get("MemAvailable");
      facts.put(
          "free",
          available == null
              ? gigabytes(system.getFreeMemorySize())
              : gigabytes(1024 * Long.parseLong(available.replaceAll("\\D", ""))));
    }
    facts.put("Java heap", gigabytes(Runtime.getRuntime().maxMemory()) + " at most");
    String pages = hugePages();
    facts.put("huge pages", pages);
    if (pages.equals("never")) {
      advice.add(
          "the system gives no huge pages (%s says never): large pictures take a fifth longer"
              .formatted(HUGE_PAGES));
    }
    return facts;
  }

  private static String hugePages() {
    try {
      String modes = Files.readString(HUGE_PAGES); // such as: always [madvise] never
      return modes.replaceAll("(?s).*\\[(\\w+)].*", "$1");
    } catch (IOException e) {
      return "not said";
    }
  }

  private static Map<String, String> computing() {
    return Map.of("type", Compute.AUTO.why(Device.AUTO));
  }

  private static Map<String, String> gpu(List<String> advice) {
    Map<String, String> facts = new LinkedHashMap<>();
    Path driver = Path.of("/proc/driver/nvidia/version");
    if (Files.isReadable(driver)) {
      try (Stream<String> lines = Files.lines(driver)) {
        facts.put("driver", lines.findFirst().orElse("").strip());
      } catch (IOException e) {
        facts.put("driver", e.getMessage());
      }
    }
    try {
      facts.put("used", new Device(Device.Kind.CUDA, 0).settled().toString());
    } catch (IllegalArgumentException e) {
      facts.put("used", "none");
      if (facts.containsKey("driver")) {
        advice.add("there is a GPU's driver, but: " + e.getMessage());
      }
    }
    List<String> devices = facts.containsKey("driver") ? nvidiaSmi() : List.of();
    for (int i = 0; i < devices.size(); i++) {
      facts.put("cuda:" + i, devices.get(i));
    }
    return facts;
  }

  /** Name, memory and driver of each GPU; none where that program does not tell. */
  private static List<String> nvidiaSmi() {
    try {
      Process asked =
          new ProcessBuilder(
                  "nvidia-smi",
                  "--query-gpu=name,memory.total,driver_version",
                  "--format=csv,noheader")
              .redirectErrorStream(true)
              .start();
      String said = new String(asked.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return asked.waitFor() == 0 ? said.lines().toList() : List.of();
    } catch (IOException e) {
      return List.of();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return List.of();
    }
  }

  private static Map<String, String> files(List<String> advice) {
    Map<String, String> facts = new LinkedHashMap<>();
    Map<String, Path> folders = new LinkedHashMap<>();
    folders.put("models", Installation.home().toAbsolutePath());
    folders.put("cache", Installation.cache());
    folders.put("native libraries", Device.cache());
    folders.put("temporary", Path.of(System.getProperty("java.io.tmpdir")));
    folders.forEach(
        (name, folder) -> {
          Path there = folder;
          while (there != null && !Files.exists(there)) {
            there = there.getParent(); // made when it is needed
          }
          boolean writable = there != null && Files.isDirectory(there) && Files.isWritable(there);
          long free = there == null ? 0 : there.toFile().getUsableSpace();
          facts.put(
              name,
              "%s (%s free%s)"
                  .formatted(folder, gigabytes(free), writable ? "" : ", cannot be written"));
          if (!writable && !name.equals("models")) {
            advice.add(folder + " cannot be written");
          } else if (free < SCARCE) {
            advice.add(folder + " has " + gigabytes(free) + " left");
          }
        });
    return facts;
  }

  /**
   * Lines such as {@code model name : EPYC}, the first of each name; none where there is no file.
   */
  private static Map<String, String> keyed(Path file) {
    try (Stream<String> lines = Files.lines(file)) {
      return lines
          .map(line -> line.split("\\s*:\\s*", 2))
          .filter(parts -> parts.length == 2)
          .collect(Collectors.toMap(parts -> parts[0], parts -> parts[1], (a, b) -> a));
    } catch (IOException e) {
      return Map.of();
    }
  }

  private static String gigabytes(long bytes) {
    return String.format(Locale.ROOT, "%.1f GB", bytes / 1e9);
  }

  /** As people read it. */
  public String text() {
    StringBuilder text = new StringBuilder();
    sections.forEach(
        (section, facts) -> {
          text.append(section).append('\n');
          facts.forEach((name, fact) -> text.append("  %-17s %s%n".formatted(name, fact)));
        });
    advice.forEach(sentence -> text.append("! ").append(sentence).append('\n'));
    return text.toString().stripTrailing();
  }
}
