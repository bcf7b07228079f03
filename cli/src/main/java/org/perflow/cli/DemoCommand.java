package org.perflow.cli;

import java.nio.file.Path;
import org.perflow.cli.options.DeviceOption;
import org.perflow.cli.terminal.StopOnInterrupt;
import org.perflow.compare.Demo;
import org.perflow.report.EvaluationReport;
import org.perflow.train.Progress;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code perflow demo}: the main job, small. */
@Command(
    name = "demo",
    description =
        "Shows what perflow does, in a few minutes on two cores: trains a 4-step student from the"
            + " teacher that comes with it, then compares the teacher, the student that comes with"
            + " it (trained for longer) and the new one on captions held out from training. OUT gets"
            + " report.html, its tables as report.md, grid.png and the run.",
    footer = {"", "Examples:", "  perflow demo", "  perflow demo --short --out demo-short"})
final class DemoCommand extends Verb {
  @Option(
      names = "--out",
      defaultValue = "demo",
      paramLabel = "DIR",
      description = "Folder to write to (default: ${DEFAULT-VALUE}).")
  Path out;

  @Option(names = "--short", description = "A minute or two: less training, fewer pictures.")
  boolean quick;

  @Mixin DeviceOption device;

  private Demo.Listener shown(Progress progress) {
    return new Demo.Listener() {
      @Override
      public void planned(String plan) {
        err().println(plan);
      }

      @Override
      public void at(double part, String doing) {
        progress.at(part, doing);
      }
    };
  }

  @Override
  void run() throws Exception {
    EvaluationReport report;
    try (Progress progress = new Progress("demo");
        StopOnInterrupt stop = new StopOnInterrupt()) {
      report = new Demo(out, quick, device.chosen()).run(shown(progress), stop);
    }
    report(
        report.json(),
        report.table() + "%n%n%s".formatted(out.resolve("report.html").toAbsolutePath()));
  }
}
