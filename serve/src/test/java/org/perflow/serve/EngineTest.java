package org.perflow.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.imageio.ImageIO;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.serve.RefusedException.Reason;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;

/** The engine with the models that come with perflow. */
class EngineTest {
  private static final String STUDENT = "emoji-64-perflow";
  private static final String TEACHER = "emoji-64";
  @TempDir Path folder;
  private final SimpleMeterRegistry registry = new SimpleMeterRegistry();
  private Engine engine;

  @AfterEach
  void stop() {
    if (engine != null) {
      engine.close();
    }
  }

  private static EngineOptions options() {
    Map<String, Path> models = new LinkedHashMap<>();
    models.put(STUDENT, Installation.student());
    models.put(TEACHER, Installation.teacher());
    return EngineOptions.of(Installation.student()).withModels(models);
  }

  private Engine start(EngineOptions options) throws Exception {
    engine = new Engine(options, registry);
    return engine;
  }

  private static Caller caller(String client, boolean waits) {
    return new Caller(client, null, client + Math.random(), waits);
  }

  private static JobRequest asked(String model, Request request, int count) {
    JobRequest one = JobRequest.of(model, request);
    return new JobRequest(
        model, request, count, null, one.loras(), one.controls(), one.format(), one.quality());
  }

  private static Job.Snapshot end(Job job) throws InterruptedException {
    Job.Snapshot now = job.now();
    while (!now.state().isOver()) {
      now = job.await(now.version(), Duration.ofMinutes(1));
    }
    return now;
  }

  /** Long enough to be caught while it is drawn: the teacher's 150 steps of 10 pictures. */
  private Job slow(String client, boolean waits) {
    Request many = Request.of("rocket").withSteps(150);
    return engine.submit(asked(TEACHER, many, 10), caller(client, waits));
  }

  private static void drawing(Job job) throws InterruptedException {
    Job.Snapshot now = job.now();
    while (now.step() == 0) {
      now = job.await(now.version(), Duration.ofMinutes(1));
    }
  }

  /** On a CPU the same; what a device sees of it MetaDrawingTest holds. */
  @Test
  void offloadedModelsDraw() throws Exception {
    start(options().withOffload(true).withDevice(Device.CPU));
    JobRequest sun = JobRequest.of(STUDENT, Request.of("sun").withSeed(5));
    Job.Snapshot end = end(engine.submit(sun, caller("me", false)));
    try (Pipeline pipe = Pipeline.load(Installation.student(), DType.F32)) {
      assertThat(distance(end.pictures().get(0), pipe.draw(sun.picture(0)))).isLessThanOrEqualTo(2);
    }
  }

  @Test
  void aPictureDoesNotDependOnItsCompany() throws Exception {
    start(options());
    List<Job> jobs = new ArrayList<>();
    Job first = slow("first", false); // holds the worker, so that the others wait together
    for (String prompt : List.of("red apple", "green pear", "blue car")) {
      jobs.add(
          engine.submit(asked(STUDENT, Request.of(prompt).withSeed(11), 2), caller(prompt, false)));
    }
    drawing(first);
    engine.cancel(first, "enough");
    try (Pipeline pipe = Pipeline.load(Installation.student(), DType.F32)) {
      for (Job job : jobs) {
        Job.Snapshot end = end(job);
        assertThat(end.state()).isEqualTo(Job.State.DONE);
        for (int i = 0; i < 2; i++) {
          BufferedImage alone = pipe.draw(job.request().picture(i));
          assertThat(distance(end.pictures().get(i), alone)).isLessThanOrEqualTo(2);
          assertThat(end.pictures().get(i).seed()).isEqualTo(11 + i);
        }
      }
    }
    assertThat(registry.get("perflow.batch.size").tag("model", STUDENT).summary().max())
        .isEqualTo(6);
  }

  private static int distance(DrawnPicture picture, BufferedImage other) throws Exception {
    BufferedImage image = ImageIO.read(new ByteArrayInputStream(picture.file()));
    int most = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        for (int shift = 0; shift <= 16; shift += 8) {
          int a = image.getRGB(x, y) >> shift & 0xFF;
          int b = other.getRGB(x, y) >> shift & 0xFF;
          most = Math.max(most, Math.abs(a - b));
        }
      }
    }
    return most;
  }

  @Test
  void cancelEndsOneJobAndNoOther() throws Exception {
    start(options());
    Job mine = slow("me", false);
    drawing(mine);
    Job other = engine.submit(JobRequest.of(STUDENT, Request.of("tree")), caller("you", false));
    Job waiting = engine.submit(JobRequest.of(STUDENT, Request.of("sun")), caller("me", false));
    assertThat(engine.cancel(waiting, "not that one")).isTrue();
    assertThat(engine.cancel(mine, "not that one")).isTrue();
    assertThat(engine.cancel(mine, "again")).isFalse();
    assertThat(end(other).state()).isEqualTo(Job.State.DONE);
    assertThat(end(mine).error().reason()).isEqualTo(Reason.CANCELLED);
    assertThat(waiting.now().pictures()).isEmpty();
  }

  @Test
  void whatNobodyWaitsForIsNotDrawn() throws Exception {
    start(options());
    Job left = slow("gone", true);
    drawing(left);
    left.detach();
    Job.Snapshot end = end(left);
    assertThat(end.state()).isEqualTo(Job.State.CANCELLED);
    Job kept = engine.submit(JobRequest.of(STUDENT, Request.of("sun")), caller("me", false));
    kept.detach(); // it asked for a job
    assertThat(end(kept).state()).isEqualTo(Job.State.DONE);
  }

  @Test
  void repetitionsAreNotDrawnTwice() throws Exception {
    start(options());
    JobRequest sun = JobRequest.of(STUDENT, Request.of("sun"));
    Job keyed = engine.submit(sun, new Caller("me", "key", "sun", true));
    assertThat(engine.submit(sun, new Caller("me", "key", "sun", true))).isSameAs(keyed);
    assertThat(engine.submit(sun, new Caller("you", "key", "sun", true))).isNotSameAs(keyed);
    assertThatThrownBy(() -> engine.submit(sun, new Caller("me", "key", "moon", true)))
        .isInstanceOfSatisfying(
            RefusedException.class, e -> assertThat(e.reason()).isEqualTo(Reason.CONFLICT));
    end(keyed);
    assertThat(engine.submit(sun, new Caller("me", "key", "sun", true))).isSameAs(keyed);
    // Without a key a repetition is one only where its first sender does not wait any more.
    Job slow = slow("me", true);
    Job same = engine.submit(slow.request(), slow.caller());
    assertThat(same).isNotSameAs(slow);
    slow.detach();
    assertThat(engine.submit(slow.request(), slow.caller())).isSameAs(slow);
  }

  @Test
  void theQueueIsBounded() throws Exception {
    start(options().withQueue(2));
    Job slow = slow("me", false);
    drawing(slow);
    engine.submit(JobRequest.of(STUDENT, Request.of("a")), caller("me", false));
    engine.submit(JobRequest.of(STUDENT, Request.of("b")), caller("me", false));
    assertThatThrownBy(
            () -> engine.submit(JobRequest.of(STUDENT, Request.of("c")), caller("me", false)))
        .isInstanceOfSatisfying(
            RefusedException.class, e -> assertThat(e.reason()).isEqualTo(Reason.QUEUE_FULL));
    double pace = registry.get("perflow.draw").tag("model", STUDENT).timer().max(TimeUnit.SECONDS);
    assertThat(engine.backlog().orElseThrow().toMillis() / 1e3) // two, as long as the warm-up's
        .isCloseTo(2 * pace, Offset.offset(2e-3));
    engine.cancel(slow, "enough");
  }

  @Test
  void moreThanAllowedIsRefused() throws Exception {
    start(options().withMemory(600L << 20).withKeep(Duration.ofMillis(1)).withJournal(folder));
    JobRequest first = JobRequest.of(STUDENT, Request.of("a"));
    Job job = engine.submit(first, caller("me", false), Json.MAPPER.createObjectNode());
    assertThat(folder.resolve(job.id() + ".json")).exists();
    assertThat(end(job).state()).isEqualTo(Job.State.DONE);
    Request large = Request.of("a").withSize(2048, 2048);
    Job refused = engine.submit(JobRequest.of(STUDENT, large), caller("me", false));
    assertThat(end(refused).error().reason()).isEqualTo(Reason.TOO_LARGE);
    assertThat(refused.now().step()).isZero(); // before it began
    assertThat(end(engine.submit(job.request(), caller("me", false))).state())
        .isEqualTo(Job.State.DONE);
    for (Request request :
        List.of(
            Request.of("a").withSize(4096, 4096),
            Request.of("a").withSteps(151),
            Request.of("a".repeat(8001)))) {
      assertThatThrownBy(() -> engine.submit(JobRequest.of(STUDENT, request), caller("me", false)))
          .isInstanceOfSatisfying(
              RefusedException.class, e -> assertThat(e.reason()).isEqualTo(Reason.BAD_REQUEST));
    }
    assertThatThrownBy(
            () -> engine.submit(JobRequest.of("emoji", Request.of("a")), caller("me", false)))
        .hasMessageContaining("emoji-64");
    Thread.sleep(1100);
    assertThat(engine.find(job.id())).isEmpty(); // expired
    assertThat(folder).isDirectoryNotContaining(file -> !file.endsWith(".lock"));
  }

  @Test
  void modelsMakeRoomForEachOther() throws Exception {
    start(options().withMemory(60L << 20)); // each has 35 MB
    long objects = 0;
    for (int round = 0; round < 3; round++) {
      for (String model : List.of(TEACHER, STUDENT)) {
        Request two = Request.of("sun").withSteps(4);
        Job job = engine.submit(JobRequest.of(model, two), caller("me", false));
        assertThat(end(job).state()).isEqualTo(Job.State.DONE);
        assertThat(engine.loaded()).containsOnlyKeys(model);
      }
      if (round == 1) {
        objects = Scope.liveObjects();
      }
    }
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects + 50);
  }

  /** What a request uses together is not freed for another part of it. */
  @Test
  void aModelStaysWhileItsControlNetIsLoaded() throws Exception {
    Path golden = Path.of("../models/src/test/resources/golden/models");
    EngineOptions tiny = EngineOptions.of(golden.resolve("sd15"));
    tiny = tiny.withControlNets(Map.of("edges", golden.resolve("controlnet-sd15")));
    BufferedImage edges = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    JobRequest plain = JobRequest.of("sd15", Request.of("a").withSteps(2).withSize(32, 32));
    JobRequest both =
        new JobRequest(
            "sd15",
            plain.request(),
            1,
            null,
            Map.of(),
            List.of(new JobRequest.ControlUse("edges", edges, 1, 0, 1)),
            plain.format(),
            90);
    start(tiny);
    assertThat(end(engine.submit(both, caller("me", false))).state()).isEqualTo(Job.State.DONE);
    long model = engine.loaded().get("sd15");
    long net = engine.loaded().get("ControlNet edges");
    engine.close();
    start(tiny.withMemory(model + net - 1));
    assertThat(end(engine.submit(both, caller("me", false))).error().reason())
        .isEqualTo(Reason.TOO_LARGE);
    assertThat(engine.loaded()).containsOnlyKeys("sd15");
  }

  @Test
  void whatTakesTooLongIsEnded() throws Exception {
    start(options().withPatience(Duration.ofMillis(300)));
    assertThat(end(slow("me", false)).error().reason()).isEqualTo(Reason.TIMEOUT);
  }

  /** Gauges of two engines in one registry are each one's own, and end with it. */
  @Test
  void enginesShareARegistry() throws Exception {
    start(options());
    Request large = Request.of("rocket").withSteps(150).withSize(128, 128);
    Job slow = engine.submit(asked(TEACHER, large, 10), caller("me", false));
    drawing(slow);
    engine.submit(JobRequest.of(STUDENT, Request.of("a")), caller("me", false));
    engine.submit(JobRequest.of(STUDENT, Request.of("b")), caller("me", false));
    assertThatThrownBy(() -> new Engine(options(), registry))
        .hasMessageContaining("another engine counts a model 'emoji-64-perflow'");
    EngineOptions others = options().withModels(Map.of("other", Installation.teacher()));
    for (int round = 0; round < 2; round++) { // the first leaves nothing behind
      try (Engine other = new Engine(others, registry)) {
        Request quick = Request.of("c").withSteps(2);
        Job job = other.submit(JobRequest.of("other", quick), caller("me", false));
        assertThat(end(job).state()).isEqualTo(Job.State.DONE);
        assertThat(gauge("perflow.queue.length", "other")).isZero();
        assertThat(gauge("perflow.memory.weights", "other")).isPositive();
      }
      assertThat(registry.find("perflow.queue.length").tag("model", "other").gauge()).isNull();
      assertThat(registry.find("perflow.memory.weights").tag("model", "other").gauge()).isNull();
    }
    assertThat(gauge("perflow.queue.length", STUDENT)).isEqualTo(2);
    assertThat(gauge("perflow.queue.length", TEACHER)).isZero();
    engine.cancel(slow, "enough");
  }

  private double gauge(String name, String model) {
    return registry.get(name).tag("model", model).gauge().value();
  }

  /** Else each picture would stay in memory until it expires. */
  @Test
  void whatNobodyCanAskForAgainIsNotKept() throws Exception {
    start(options());
    JobRequest sun = JobRequest.of(STUDENT, Request.of("sun"));
    Job answered = engine.submit(sun, caller("me", true));
    Job keyed = engine.submit(sun, new Caller("me", "key", "sun", true));
    Job linked = engine.submit(sun, caller("me", true));
    linked.keep();
    Job submitted = engine.submit(sun, caller("me", false));
    for (Job job : List.of(answered, keyed, linked, submitted)) {
      end(job);
      assertThat(engine.find(job.id())).isPresent(); // somebody is still reading it
      job.detach();
    }
    for (int i = 0; i < 600 && engine.find(answered.id()).isPresent(); i++) {
      Thread.sleep(100);
    }
    assertThat(engine.find(answered.id())).isEmpty();
    for (Job job : List.of(keyed, linked, submitted)) {
      assertThat(engine.find(job.id())).isPresent();
    }
  }

  @Test
  void aWrongRequestFailsAlone() throws Exception {
    start(options());
    Job slow = slow("me", false);
    drawing(slow);
    Job wrong =
        engine.submit(
            JobRequest.of(STUDENT, Request.of("a").withSize(60, 64)), caller("me", false));
    Job right = engine.submit(JobRequest.of(STUDENT, Request.of("b")), caller("me", false));
    engine.cancel(slow, "enough");
    assertThat(end(wrong).error()).hasMessageContaining("multiples of 8");
    assertThat(end(right).state()).isEqualTo(Job.State.DONE);
  }

  @Test
  void whatWasHalfForgottenIsForgottenAndNothingElse() throws Exception {
    Path done = Files.createDirectories(folder.resolve("0".repeat(32) + ".done"));
    Files.createFile(done.resolve("0"));
    Path part = Files.createDirectories(folder.resolve("1".repeat(32) + ".part"));
    Path others = Files.createDirectories(folder.resolve("photos.done"));
    Files.writeString(folder.resolve("notes.json"), "[]");
    start(options().withJournal(folder)).restore(source -> JobRequest.of(STUDENT, Request.of("")));
    assertThat(done).doesNotExist();
    assertThat(part).doesNotExist();
    assertThat(others).exists();
  }

  @Test
  void aBrokenJournalStopsNothing() throws Exception {
    Path journal = folder.resolve("journal");
    start(options().withJournal(journal));
    Job first = slow("me", false);
    drawing(first);
    ObjectNode source = Json.MAPPER.createObjectNode();
    JobRequest asked = JobRequest.of(STUDENT, Request.of("a").withSize(60, 64));
    Job wrong = engine.submit(asked, caller("me", false), source);
    Files.move(journal, folder.resolve("elsewhere"));
    Files.createFile(journal);
    engine.cancel(first, "enough"); // nothing can be forgotten
    assertThat(end(wrong).state()).isEqualTo(Job.State.FAILED);
    Job right = engine.submit(JobRequest.of(STUDENT, Request.of("b")), caller("me", false));
    assertThat(end(right).state()).isEqualTo(Job.State.DONE);
  }

  @Test
  void drainingFinishesOrHandsBackInTime() throws Exception {
    start(options());
    Job quick = engine.submit(JobRequest.of(STUDENT, Request.of("a")), caller("me", false));
    end(quick);
    Job slow = slow("me", false);
    drawing(slow);
    long begin = System.nanoTime();
    assertThat(engine.drain(Duration.ofMillis(300))).containsExactly(slow);
    assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(5));
    assertThatThrownBy(
            () -> engine.submit(JobRequest.of(STUDENT, Request.of("c")), caller("me", false)))
        .isInstanceOfSatisfying(
            RefusedException.class, e -> assertThat(e.reason()).isEqualTo(Reason.STOPPING));
  }
}
