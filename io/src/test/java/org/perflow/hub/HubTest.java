package org.perflow.hub;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.hub.HubException.Kind;
import org.perflow.hub.HubServer.Fault;

/** Fetches against a hub of our own, which does what goes wrong with the real one. */
@Timeout(60)
class HubTest {
  private static final String NAME = "tiny/model";
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";
  private static final Transfer FAST =
      new Transfer(3, Duration.ofMillis(5), Duration.ofSeconds(5), 1000, 3);

  @TempDir Path folder;
  private HubServer server;
  private Path cache;

  @BeforeEach
  void start() throws IOException {
    server = new HubServer();
    cache = folder.resolve("cache/hub");
    server.commit(NAME, "main", pipeline(1));
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private Hub hub() {
    return hub(null, false, true);
  }

  private Hub hub(String token, boolean offline, boolean symlinks) {
    return Hub.of(new HubSettings(server.endpoint(), cache, token, offline, symlinks)).with(FAST);
  }

  private static byte[] bytes(int seed, int count) {
    byte[] bytes = new byte[count];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  /** A pipeline with all that a repository has besides. */
  private static SortedMap<String, byte[]> pipeline(int seed) {
    SortedMap<String, byte[]> files = new TreeMap<>();
    files.put(
        "model_index.json",
        """
        {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
         "vae": ["diffusers", "AutoencoderKL"], "tokenizer": ["transformers", "CLIPTokenizer"],
         "scheduler": ["diffusers", "DDIMScheduler"], "image_encoder": [null, null],
         "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}"""
            .getBytes(UTF_8));
    for (String text :
        List.of(
            "unet/config.json",
            "vae/config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "scheduler/scheduler_config.json",
            "safety_checker/config.json",
            "README.md")) {
      files.put(text, ("{\"of\": \"" + text + "\"}").getBytes(UTF_8));
    }
    files.put("unet/empty.txt", new byte[0]);
    files.put(UNET, bytes(seed, 4500));
    for (String weights :
        List.of(
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_flax_model.msgpack",
            "unet/model.onnx",
            "vae/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "safety_checker/model.safetensors",
            "v1-5-pruned.ckpt",
            "v1-5-pruned.safetensors")) {
      files.put(weights, bytes(weights.hashCode(), 300));
    }
    return files;
  }

  private static List<String> files(Path folder) throws IOException {
    try (Stream<Path> all = Files.walk(folder)) {
      return all.filter(file -> !Files.isDirectory(file))
          .map(file -> folder.relativize(file).toString().replace('\\', '/'))
          .sorted()
          .toList();
    }
  }

  private HubException refusal(Hub hub, String named) {
    return catchThrowableOfType(HubException.class, () -> hub.resolve(named));
  }

  // ---------------------------------------------------------------- what is fetched

  @Test
  void aPipelineIsWhatDrawsAndNothingElse() throws IOException {
    server.pages(3);
    Path snapshot = hub().resolve(NAME);
    assertThat(files(snapshot))
        .containsExactly(
            "model_index.json",
            "scheduler/scheduler_config.json",
            "tokenizer/merges.txt",
            "tokenizer/vocab.json",
            "unet/config.json",
            UNET,
            "unet/empty.txt",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors");
    assertThat(Files.readAllBytes(snapshot.resolve(UNET))).isEqualTo(bytes(1, 4500));
    assertThat(server.asked()).noneMatch(asked -> asked.path().contains("safety"));
  }

  /** As huggingface_hub lays it out, so that either finds what the other fetched. */
  @Test
  void theCacheIsLaidOutAsPythons() throws IOException {
    Path snapshot = hub().resolve(NAME);
    Path repository = cache.resolve("models--tiny--model");
    String commit = snapshot.getFileName().toString();
    assertThat(snapshot).isEqualTo(repository.resolve("snapshots").resolve(commit));
    assertThat(repository.resolve("refs/main")).hasContent(commit);
    Path unet = snapshot.resolve(UNET);
    String sha256 = HubServer.hash(bytes(1, 4500));
    assertThat(Files.readSymbolicLink(unet)).hasToString("../../../blobs/" + sha256);
    Path index = snapshot.resolve("model_index.json");
    assertThat(Files.readSymbolicLink(index))
        .hasToString("../../blobs/" + HubServer.gitHash(Files.readAllBytes(index)));
    assertThat(files(repository.resolve("blobs"))).allMatch(name -> name.matches("[0-9a-f]+"));
    assertThat(repository.resolve("trees/" + commit + ".json"))
        .content()
        .contains("\"format_version\": 1", "\"lfs_sha256\": \"" + sha256 + "\"");
  }

  @Test
  void whatIsThereIsNotFetchedAgain() throws IOException {
    Path snapshot = hub().resolve(NAME);
    server.asked();
    assertThat(hub().resolve(NAME)).isEqualTo(snapshot);
    assertThat(server.asked()).hasSize(1); // which commit main is now
    assertThat(hub().resolve(NAME + "@" + snapshot.getFileName())).isEqualTo(snapshot);
    assertThat(server.asked()).isEmpty(); // a commit never changes
  }

  @Test
  void aNewCommitSharesWhatDidNotChange() throws IOException {
    Path first = hub().resolve(NAME);
    server.commit(NAME, "main", pipeline(2));
    server.asked();
    Path second = hub().resolve(NAME);
    assertThat(second).isNotEqualTo(first);
    assertThat(server.asked())
        .filteredOn(asked -> asked.path().contains("/resolve/"))
        .allMatch(asked -> asked.path().endsWith(UNET));
    assertThat(Files.readAllBytes(second.resolve(UNET))).isEqualTo(bytes(2, 4500));
    assertThat(Files.readAllBytes(first.resolve(UNET))).isEqualTo(bytes(1, 4500));
  }

  @Test
  void aFolderOrAFileMayBeNamed() throws IOException {
    Path vae = hub().resolve(NAME + ":vae");
    assertThat(files(vae)).containsExactly("config.json", "diffusion_pytorch_model.safetensors");
    Path pickle = hub().resolve(NAME + "@main:unet/diffusion_pytorch_model.bin");
    assertThat(pickle).hasSize(300);
    assertThat(files(vae.getParent())).hasSize(3);
    assertThat(refusal(hub(), NAME + ":vae_"))
        .hasMessageContaining("has no vae_")
        .hasMessageContaining("did you mean vae?");
  }

  @Test
  void aVariantIsPreferredAndUsedFromThenOn() throws IOException {
    Path snapshot = hub().withVariant("fp16").resolve(NAME);
    assertThat(files(snapshot))
        .contains(
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "vae/diffusion_pytorch_model.fp16.safetensors")
        .doesNotContain(UNET);
    server.asked();
    hub().resolve(NAME); // no variant is asked for
    assertThat(server.asked()).noneMatch(asked -> asked.path().contains("/resolve/"));
    assertThat(refusal(hub().withVariant("int8"), NAME))
        .hasMessageContaining("no weights of the variant int8; it has fp16");
  }

  /** Only "models fetch" can name a variant: other commands take what there is. */
  @Test
  void aVariantThatIsAllThereIsIsTaken() throws IOException {
    SortedMap<String, byte[]> files = new TreeMap<>();
    files.put("config.json", "{}".getBytes(UTF_8));
    files.put("model.fp16.safetensors", bytes(1, 100));
    files.put("model.bf16.safetensors", bytes(2, 100));
    server.commit("tiny/half", "main", files);
    assertThat(files(hub().resolve("tiny/half")))
        .containsExactly("config.json", "model.fp16.safetensors");
    files.remove("model.fp16.safetensors");
    files.put("model.int8.safetensors", bytes(3, 100));
    server.commit("tiny/several", "main", files);
    assertThat(refusal(hub(), "tiny/several"))
        .hasMessageContaining("has weights of the variants bf16, int8 and no plain ones")
        .hasMessageContaining("perflow models fetch tiny/several --variant bf16");
    hub().withVariant("int8").resolve("tiny/several");
    assertThat(files(hub().resolve("tiny/several")))
        .containsExactly("config.json", "model.int8.safetensors");
  }

  @Test
  void shardsAreThoseThatTheIndexNames() throws IOException {
    SortedMap<String, byte[]> files = new TreeMap<>();
    files.put("config.json", "{}".getBytes(UTF_8));
    files.put(
        "model.safetensors.index.json",
        "{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}}"
            .getBytes(UTF_8));
    for (String shard : List.of("model-1", "model-2", "model-3")) {
      files.put(shard + ".safetensors", bytes(shard.hashCode(), 50));
    }
    files.put("pytorch_model.bin", bytes(3, 100));
    server.commit("tiny/shards", "main", files);
    assertThat(files(hub().resolve("tiny/shards")))
        .containsExactly(
            "config.json",
            "model-1.safetensors",
            "model-2.safetensors",
            "model.safetensors.index.json");
  }

  @Test
  void ofLorasOneIsNamedWhereThereAreSeveral() throws IOException {
    SortedMap<String, byte[]> files = new TreeMap<>();
    files.put("README.md", "# loras".getBytes(UTF_8));
    files.put("style.safetensors", bytes(1, 100));
    server.commit("tiny/lora", "main", files);
    assertThat(hub().resolve("tiny/lora")).hasFileName("style.safetensors").hasSize(100);
    files.put("other.safetensors", bytes(2, 100));
    server.commit("tiny/loras", "main", files);
    assertThat(refusal(hub(), "tiny/loras@main"))
        .hasMessageContaining("tiny/loras@main:other.safetensors")
        .hasMessageContaining("other.safetensors, style.safetensors");
    files.put("pytorch_lora_weights.safetensors", bytes(3, 100));
    server.commit("tiny/named", "main", files);
    assertThat(files(hub().resolve("tiny/named")))
        .containsExactly("pytorch_lora_weights.safetensors");
  }

  @Test
  void aPathThatExistsComesFirst() throws IOException {
    Path here = Files.createDirectories(folder.resolve("model"));
    assertThat(hub().resolve(here.toString())).isEqualTo(here);
    assertThat(hub().resolve("no/such/folder")).isEqualTo(Path.of("no/such/folder"));
    assertThat(server.asked()).isEmpty();
    assertThat(refusal(hub(), "no/such"))
        .hasMessageContaining("there is no file or folder no/such here")
        .hasMessageContaining("no/such is not on the hub");
  }

  // ---------------------------------------------------------------- how it travels

  @Test
  void theTokenGoesToTheHubAlone() throws IOException {
    server.commit("tiny/secret", "main", pipeline(3)).secret("hf_mine");
    hub("hf_mine", false, true).resolve("tiny/secret");
    List<HubServer.Asked> asked = server.asked();
    assertThat(asked).filteredOn(HubServer.Asked::store).hasSizeGreaterThan(4);
    assertThat(asked)
        .allSatisfy(
            each -> assertThat(each.token()).isEqualTo(each.store() ? "" : "Bearer hf_mine"));
  }

  @Test
  void aLargeFileComesInPieces() throws IOException {
    Path unet = hub().resolve(NAME + ":" + UNET);
    assertThat(server.asked().stream().filter(HubServer.Asked::store).map(HubServer.Asked::range))
        .containsExactlyInAnyOrder(
            "bytes=0-999",
            "bytes=1000-1999",
            "bytes=2000-2999",
            "bytes=3000-3999",
            "bytes=4000-4499");
    assertThat(Files.readAllBytes(unet)).isEqualTo(bytes(1, 4500));
  }

  @Test
  void whatIsCutGoesOnWhereItWas() throws IOException {
    server.fail(
        "store:" + UNET,
        Fault.of(Fault.Kind.CUT, 300),
        Fault.of(Fault.Kind.CUT, 0),
        Fault.of(Fault.Kind.CUT, 300));
    Path unet = hub().resolve(NAME + ":" + UNET);
    assertThat(Files.readAllBytes(unet)).isEqualTo(bytes(1, 4500));
    assertThat(server.asked().stream().map(HubServer.Asked::range))
        .filteredOn(range -> range.matches("bytes=\\d300-.*"))
        .isNotEmpty();
  }

  @Test
  void aConnectionThatBringsNothingIsGivenUp() throws IOException {
    server.fail("store:" + UNET, Fault.of(Fault.Kind.SILENCE, 10));
    assertThat(hub().resolve(NAME + ":" + UNET)).hasBinaryContent(bytes(1, 4500));
  }

  @Test
  void aServerWithoutRangesSendsItAll() throws IOException {
    Fault[] all = new Fault[20];
    Arrays.fill(all, Fault.of(Fault.Kind.NO_RANGE, 0));
    server.fail("store:" + UNET, all);
    assertThat(hub().resolve(NAME + ":" + UNET)).hasBinaryContent(bytes(1, 4500));
  }

  @Test
  void busyServersAreAskedAgain() throws IOException {
    server.fail("revision/main", Fault.status(429, Map.of("Retry-After", "1")));
    server.fail(UNET, Fault.status(503, Map.of()), Fault.status(500, Map.of()));
    server.fail("store:" + UNET, Fault.status(403, Map.of())); // its address was too old
    long start = System.nanoTime();
    assertThat(hub().resolve(NAME + ":" + UNET)).hasBinaryContent(bytes(1, 4500));
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isGreaterThan(Duration.ofSeconds(1));
    server.fail("revision/v2", Fault.status(429, Map.of("Retry-After", "9999")));
    HubException waited = refusal(hub(), NAME + "@v2");
    assertThat(waited).hasMessageContaining("HTTP 429, too many requests; try again later");
    assertThat(waited.kind()).isEqualTo(Kind.UNREACHABLE);
  }

  @Test
  void contentIsCheckedByItsHash() throws IOException {
    server.fail("store:" + UNET, Fault.of(Fault.Kind.DAMAGE, 7));
    assertThat(hub().resolve(NAME + ":" + UNET)).hasBinaryContent(bytes(1, 4500)); // once more
    Path small = Path.of("vae/config.json");
    server.fail("vae/config.json", Fault.of(Fault.Kind.DAMAGE, 2), Fault.of(Fault.Kind.DAMAGE, 3));
    HubException damaged = refusal(hub(), NAME + ":" + small);
    assertThat(damaged.kind()).isEqualTo(Kind.DAMAGED);
    assertThat(damaged).hasMessageContaining("vae/config.json arrived twice with the hash");
    try (Stream<Path> left = Files.walk(cache)) {
      assertThat(left).noneMatch(file -> file.toString().endsWith("incomplete"));
    }
    assertThat(hub().resolve(NAME + ":" + small)).content().contains("vae/config.json");
  }

  @Test
  void sizesAreCheckedBeforeAllOfItHasCome() throws IOException {
    server.commit("tiny/lies", "main", pipeline(1)).announce(UNET, 4600);
    HubException lies = refusal(hub(), "tiny/lies@main:" + UNET);
    assertThat(lies.kind()).isEqualTo(Kind.DAMAGED);
    assertThat(lies).hasMessageContaining("has 4500 bytes").hasMessageContaining("expected 4600");
  }

  @Test
  void aDiskThatIsTooSmallIsToldBefore() throws IOException {
    server.commit("tiny/huge", "main", pipeline(1)).announce(UNET, 1_000_000_000_000_000L);
    HubException huge = refusal(hub(), "tiny/huge:unet");
    assertThat(huge.kind()).isEqualTo(Kind.NO_SPACE);
    assertThat(huge).hasMessageContaining("1.00 PB more").hasMessageContaining("HF_HOME");
    assertThat(server.asked()).noneMatch(HubServer.Asked::store);
  }

  @Test
  void threadsThatWantTheSameFetchItOnce() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(3);
    try {
      Callable<Path> fetch = () -> hub().resolve(NAME + ":" + UNET);
      for (Future<Path> each : threads.invokeAll(List.of(fetch, fetch, fetch))) {
        assertThat(each.get()).hasBinaryContent(bytes(1, 4500));
      }
    } finally {
      threads.shutdownNow();
    }
    assertThat(server.asked()).filteredOn(HubServer.Asked::store).hasSize(5);
  }

  @Test
  void aRepositoryThatWasRenamedIsFound() throws IOException {
    server.rename("old/name", NAME);
    assertThat(hub().resolve("old/name:" + UNET)).hasBinaryContent(bytes(1, 4500));
  }

  // ---------------------------------------------------------------- refusals

  @ParameterizedTest
  @CsvSource({
    "tiny/none, ABSENT, tiny/none is not on the hub",
    "tiny/secret, ABSENT, 'is private: see to its spelling or, if it is private, set HF_TOKEN'",
    "tiny/gated, DENIED, tiny/gated is gated: ask for access at",
    "tiny/model@v9, ABSENT, 'has no branch, tag or commit v9'",
    "tiny/model:nothing.bin, ABSENT, the repository has no nothing.bin",
  })
  void refusalsSayWhatToDo(String named, Kind kind, String message) {
    server.commit("tiny/secret", "main", pipeline(1)).secret("hf_other");
    server.commit("tiny/gated", "main", pipeline(1)).gated();
    HubException refused = refusal(hub(), named);
    assertThat(refused).hasMessageContaining(message);
    assertThat(refused.kind()).isEqualTo(kind);
  }

  @Test
  void aTokenThatIsNotKnownIsTold() {
    server.fail(
        "revision/main", Fault.status(401, Map.of("X-Error-Message", "Invalid user token")));
    HubException refused = refusal(hub("hf_wrong", false, true), NAME);
    assertThat(refused.kind()).isEqualTo(Kind.DENIED);
    assertThat(refused).hasMessageContaining("does not know the token");
    assertThat(refused).hasMessageNotContaining("hf_wrong");
  }

  @Test
  void whatIsNoHubIsTold() {
    HubServer.Fault page = Fault.status(200, Map.of("Content-Type", "text/html"));
    server.fail("revision/main", page);
    assertThat(refusal(hub(), NAME)).hasMessageContaining("does not answer as the hub does");
  }

  // ---------------------------------------------------------------- without a connection

  @Test
  void offlineNobodyIsAsked() throws IOException {
    HubException nothing = refusal(hub(null, true, true), NAME);
    assertThat(nothing.kind()).isEqualTo(Kind.OFFLINE);
    assertThat(nothing).hasMessageContaining("perflow models fetch " + NAME);
    Path vae = hub().resolve(NAME + ":vae");
    server.asked();
    assertThat(hub(null, true, true).resolve(NAME + ":vae")).isEqualTo(vae);
    assertThat(refusal(hub(null, true, true), NAME))
        .hasMessageContaining("HF_HUB_OFFLINE")
        .hasMessageContaining("all but model_index.json");
    hub().resolve(NAME + ":model_index.json");
    server.asked();
    assertThat(refusal(hub(null, true, true), NAME + "@main"))
        .hasMessageContaining(UNET + " (4.50 kB)");
    assertThat(server.asked()).isEmpty();
  }

  /** An older Python leaves no list of all files. */
  @Test
  void offlineASnapshotWithoutATreeIsTakenAsItIs() throws IOException {
    Path snapshot = hub().resolve(NAME);
    Files.delete(cache.resolve("models--tiny--model/trees/" + snapshot.getFileName() + ".json"));
    server.asked();
    assertThat(hub(null, true, true).resolve(NAME)).isEqualTo(snapshot);
    assertThat(server.asked()).isEmpty();
  }

  @Test
  void aHubThatCannotBeReachedIsToldAndTheCacheUsed() throws IOException {
    URI nobody = URI.create("http://127.0.0.1:9"); // the port "discard", where nothing listens
    List<String> notes = new ArrayList<>();
    Hub lost =
        Hub.of(new HubSettings(nobody, cache, null, false, true))
            .with(FAST)
            .withListener(
                new FetchListener() {
                  @Override
                  public void onNote(String note) {
                    notes.add(note);
                  }
                });
    HubException unreachable = refusal(lost, NAME);
    assertThat(unreachable.kind()).isEqualTo(Kind.UNREACHABLE);
    assertThat(unreachable).hasMessageContaining("HF_HUB_OFFLINE=1");
    Path snapshot = hub().resolve(NAME);
    assertThat(lost.resolve(NAME)).isEqualTo(snapshot);
    assertThat(notes).singleElement().asString().contains("what was fetched before is used");
  }

  // ---------------------------------------------------------------- the cache

  @Test
  void contentThatIsShortOrGoneIsFetchedAgain() throws IOException {
    Path snapshot = hub().resolve(NAME);
    Path unet = snapshot.resolve(UNET).toRealPath();
    Files.write(unet, bytes(1, 100));
    Files.delete(snapshot.resolve("vae/config.json").toRealPath());
    assertThat(hub().cached().get(0).incomplete())
        .containsExactly("vae/config.json (its content is gone)");
    hub().resolve(NAME);
    assertThat(snapshot.resolve(UNET)).hasBinaryContent(bytes(1, 4500));
    assertThat(snapshot.resolve("vae/config.json")).exists();
  }

  /** As Windows has it: the content stands in the snapshot itself. */
  @Test
  void withoutLinksTheSnapshotHoldsTheContent() throws IOException {
    Hub plain = hub(null, false, false);
    Path snapshot = plain.resolve(NAME);
    assertThat(Files.isSymbolicLink(snapshot.resolve(UNET))).isFalse();
    assertThat(snapshot.resolve(UNET)).hasBinaryContent(bytes(1, 4500));
    assertThat(files(cache.resolve("models--tiny--model/blobs"))).isEmpty();
    server.asked();
    plain.resolve(NAME);
    assertThat(server.asked()).hasSize(1);
    assertThat(plain.cached().get(0).bytes()).isGreaterThan(4500);
  }

  @Test
  void theListHasSizesRevisionsAndWhatWasCutOff() throws IOException {
    hub().resolve(NAME + ":vae");
    server.commit(NAME, "v2", pipeline(2));
    hub().resolve(NAME + "@v2:vae");
    Fault[] cuts = new Fault[30];
    Arrays.fill(cuts, Fault.of(Fault.Kind.CUT, 0));
    server.fail("store:" + UNET, cuts);
    assertThatThrownBy(() -> hub().resolve(NAME)).isInstanceOf(HubException.class);
    CachedModel model = hub().cached().get(0);
    assertThat(model.repository()).isEqualTo(NAME);
    assertThat(model.revisions()).hasSize(2);
    assertThat(model.revisions())
        .flatExtracting(CachedModel.Revision::names)
        .containsExactlyInAnyOrder("main", "v2");
    assertThat(model.incomplete()).containsExactly(UNET + " (0 bytes of 4.50 kB)");
  }

  @Test
  void aRevisionIsRemovedWithWhatNoOtherNeeds() throws IOException {
    Path first = hub().resolve(NAME);
    server.commit(NAME, "v2", pipeline(2));
    Path second = hub().resolve(NAME + "@v2");
    int blobs = files(cache.resolve("models--tiny--model/blobs")).size();
    assertThat(hub().remove(NAME + "@v2"))
        .singleElement()
        .asString()
        .startsWith(NAME + ": revision v2 (" + second.getFileName().toString().substring(0, 12));
    assertThat(second).doesNotExist();
    assertThat(first.resolve(UNET)).hasBinaryContent(bytes(1, 4500));
    assertThat(files(cache.resolve("models--tiny--model/blobs"))).hasSize(blobs - 1);
    assertThat(refusal(hub(null, true, true), NAME + "@v2").kind()).isEqualTo(Kind.OFFLINE);
  }

  @Test
  void removingTouchesNothingElse() throws IOException {
    server.commit("tiny/other", "main", pipeline(3));
    hub().resolve(NAME);
    Path other = hub().resolve("tiny/other");
    Path outside = Files.writeString(folder.resolve("mine.txt"), "mine");
    Path snapshot = hub().resolve(NAME);
    Files.createSymbolicLink(snapshot.resolve("mine.txt"), outside);
    Files.createSymbolicLink(snapshot.resolve("folder"), folder);
    assertThat(hub().remove(NAME)).hasSize(1);
    assertThat(cache.resolve("models--tiny--model")).doesNotExist();
    assertThat(outside).hasContent("mine");
    assertThat(other.resolve(UNET)).exists();
    assertThat(hub().cached()).extracting(CachedModel::repository).containsExactly("tiny/other");
    assertThatThrownBy(() -> hub().remove("tiny/othre"))
        .isInstanceOf(HubException.class)
        .hasMessageContaining("did you mean tiny/other?");
    assertThatThrownBy(() -> hub().remove("../cache")).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void whatLiesInTheCacheHasAName() throws IOException {
    Path snapshot = hub().resolve(NAME);
    String commit = snapshot.getFileName().toString().substring(0, 12);
    assertThat(Hub.nameOf(snapshot)).isEqualTo(NAME + "@" + commit);
    assertThat(Hub.nameOf(snapshot.resolve("unet"))).isEqualTo(NAME + "@" + commit + ":unet");
    assertThat(Hub.nameOf(Path.of("models/emoji-64/"))).isEqualTo("emoji-64");
  }
}
