package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.perflow.io.Installation;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.StepListener;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;

/**
 * 64 clients for ten minutes ({@code -Dperflow.load.seconds}), one client, and the plain pipeline:
 * the figures of docs/serving.md.
 */
@Tag("slow")
class LoadTest {
  private static final long SECONDS = Long.getLong("perflow.load.seconds", 600);
  private static final int CLIENTS = 64;

  @Test
  void manyClients() throws Exception {
    plain();
    try (Serving serving = Serving.start()) {
      clients(serving, 1, Math.max(5, SECONDS / 60), false); // warm
      double drawn = drawSeconds(serving);
      long begin = System.nanoTime();
      List<Double> one = clients(serving, 1, SECONDS / 10, false);
      figures("one client", one, begin, 0);
      double all = one.stream().mapToDouble(Double::doubleValue).sum();
      System.out.printf(
          "one client: %.1f ms a request besides drawing%n",
          1000 * (all - (drawSeconds(serving) - drawn)) / one.size());
      clients(serving, CLIENTS, Math.max(10, SECONDS / 20), true); // warm
      begin = System.nanoTime();
      long busy = cpu();
      List<Double> many = clients(serving, CLIENTS, SECONDS / 5, false);
      figures("64 clients, one size", many, begin, 0);
      System.out.printf(
          "64 clients, one size: %.1f ms of a core each, clients and all%n",
          (cpu() - busy) / 1e6 / many.size());
      Serving.Memory memory = Serving.Memory.now();
      long objects = Scope.liveObjects();
      AtomicInteger refused = new AtomicInteger();
      begin = System.nanoTime();
      List<Double> took = clients(serving, CLIENTS, SECONDS, true, refused);
      figures("64 clients, mixed sizes", took, begin, refused.get());
      System.out.printf(
          "memory before: %s; after: %s; native objects %d, %d%n",
          memory, Serving.Memory.now(), objects, Scope.liveObjects());
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects + 50);
      assertThat(serving.server.engine().unfinished()).isEmpty();
    }
  }

  /** Of this process, in nanoseconds: it tells on a machine that others use, too. */
  private static long cpu() {
    var system =
        (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    return system.getProcessCpuTime();
  }

  /** What all batches so far took. */
  private static double drawSeconds(Serving serving) throws Exception {
    return serving
        .get("/metrics")
        .body()
        .lines()
        .filter(line -> line.startsWith("perflow_draw_seconds_sum"))
        .mapToDouble(line -> Double.parseDouble(line.replaceFirst(".* ", "")))
        .sum();
  }

  /** The bar: the same pictures without a server. */
  private static void plain() throws Exception {
    try (Pipeline pipe = Pipeline.load(Installation.student(), DType.F32)) {
      for (int batch : new int[] {1, 16}) {
        List<Request> requests = Request.of("red apple").repeat(batch);
        pipe.generate(requests, batch, StepListener.NONE).close();
        long end = System.nanoTime() + Duration.ofSeconds(SECONDS / 10).toNanos();
        long begin = System.nanoTime();
        long busy = cpu();
        int pictures = 0;
        while (System.nanoTime() < end) {
          pipe.generate(requests, batch, StepListener.NONE).close();
          pictures += batch;
        }
        System.out.printf(
            "pipeline, batches of %d: %.2f pictures a second, %.1f ms of a core each%n",
            batch, pictures * 1e9 / (System.nanoTime() - begin), (cpu() - busy) / 1e6 / pictures);
      }
    }
  }

  private static List<Double> clients(Serving serving, int count, long seconds, boolean mixed)
      throws Exception {
    return clients(serving, count, seconds, mixed, new AtomicInteger());
  }

  /** Seconds of each answer. */
  private static List<Double> clients(
      Serving serving, int count, long seconds, boolean mixed, AtomicInteger refused)
      throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(count);
    long end = System.nanoTime() + Duration.ofSeconds(seconds).toNanos();
    List<Double> all = new ArrayList<>();
    try {
      List<Callable<List<Double>>> clients = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        Random random = new Random(i);
        clients.add(
            () -> {
              List<Double> took = new ArrayList<>();
              while (System.nanoTime() < end) {
                String size = mixed && random.nextInt(4) == 0 ? "96x64" : "64x64";
                long begin = System.nanoTime();
                HttpResponse<String> answer =
                    serving.post(
                        "/v1/images/generations", "{'prompt':'red apple','size':'" + size + "'}");
                if (answer.statusCode() == 429) {
                  refused.incrementAndGet();
                  Thread.sleep(1000);
                } else {
                  assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
                  took.add((System.nanoTime() - begin) / 1e9);
                }
              }
              return took;
            });
      }
      for (Future<List<Double>> each : pool.invokeAll(clients)) {
        all.addAll(each.get());
      }
      return all;
    } finally {
      pool.shutdownNow();
    }
  }

  private static void figures(String what, List<Double> took, long begin, int refused) {
    double seconds = (System.nanoTime() - begin) / 1e9;
    Collections.sort(took);
    System.out.printf(
        "%s: %d pictures, %.2f a second, p50 %.3f s, p95 %.3f s, %d times 429%n",
        what,
        took.size(),
        took.size() / seconds,
        took.get(took.size() / 2),
        took.get(took.size() * 95 / 100),
        refused);
  }
}
