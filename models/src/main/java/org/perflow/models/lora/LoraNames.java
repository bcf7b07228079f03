package org.perflow.models.lora;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/**
 * What the layers of a LoRA are called. Kohya's scripts write {@code
 * lora_unet_down_blocks_0_..._to_q.lora_down.weight}, peft {@code
 * unet.down_blocks.0....to_q.lora_A.weight}, diffusers before peft {@code
 * unet....processor.to_q_lora.down.weight}; for SDXL kohya uses the names of the original code
 * ({@code input_blocks_4_1_...}). Underscores for dots lose nothing that the model does not know,
 * so layers are matched by their names with underscores.
 */
final class LoraNames {
  private static final int LISTED = 20;

  static final String UNET = "unet";
  static final String TEXT_ENCODER = "text_encoder";
  static final String TEXT_ENCODER_2 = "text_encoder_2";

  private static final String WEIGHT = ".weight";
  private static final String UPSAMPLER = "UPSAMPLER"; // stands for its index
  private static final Pattern FACTOR =
      Pattern.compile(
          "(.+?)(?:\\.lora_|\\.lora\\.|_lora\\.|\\.lora_linear_layer\\.)(down|up|A|B)"
              + "(?:\\.[^.]+)?\\.weight"); // peft may put the adapter's name before ".weight"

  private static final Pattern ALPHA =
      Pattern.compile("(_lora|\\.lora|\\.lora_linear_layer)?\\.alpha$");

  private static final Pattern TEXT_LAYERS = Pattern.compile("(text_model\\.)?encoder\\.layers\\.");

  /** Beginnings of names; the first that fits says whose layer it is. */
  private static final Map<String, String> PREFIXES = new LinkedHashMap<>();

  static {
    PREFIXES.put("lora_unet_", UNET);
    PREFIXES.put("lora_te_", TEXT_ENCODER);
    PREFIXES.put("lora_te1_", TEXT_ENCODER);
    PREFIXES.put("lora_te2_", TEXT_ENCODER_2);
    PREFIXES.put("unet.", UNET);
    PREFIXES.put("text_encoder.", TEXT_ENCODER);
    PREFIXES.put("text_encoder_2.", TEXT_ENCODER_2);
  }

  /** What a tensor of a LoRA file is. */
  enum Role {
    DOWN,
    UP,
    ALPHA
  }

  /** A tensor's layer and its role in it. */
  record Name(String part, String module, Role role) {}

  private LoraNames() {}

  /** What the tensor of that name is, or null where it is nothing that a LoRA has. */
  static @Nullable Name parse(String tensor) {
    if (tensor.endsWith(".alpha")) {
      return name(ALPHA.matcher(tensor).replaceFirst(""), Role.ALPHA);
    }
    Matcher factor = FACTOR.matcher(tensor);
    if (!factor.matches()) {
      return null;
    }
    boolean down = factor.group(2).equals("down") || factor.group(2).equals("A");
    return name(factor.group(1), down ? Role.DOWN : Role.UP);
  }

  private static Name name(String written, Role role) {
    String rest = written.replaceFirst("^base_model\\.model\\.", "");
    for (var prefix : PREFIXES.entrySet()) {
      if (rest.startsWith(prefix.getKey())) {
        String module = rest.substring(prefix.getKey().length());
        return new Name(prefix.getValue(), current(prefix.getValue(), module), role);
      }
    }
    // Peft saves networks alone, as diffusers once did U-Nets.
    String part = TEXT_LAYERS.matcher(rest).lookingAt() ? TEXT_ENCODER : UNET;
    return new Name(part, current(part, rest), role);
  }

  /** Names of diffusers before peft, and of transformers before 5, as they are now. */
  private static String current(String part, String module) {
    if (part.equals(UNET)) {
      return module.replace(".processor.", ".").replaceFirst("\\.to_out$", ".to_out.0");
    }
    return module
        .replaceFirst("^text_model[._]", "")
        .replaceFirst("\\.to_([qkv])$", ".$1_proj")
        .replaceFirst("\\.to_out$", ".out_proj");
  }

  /** With underscores for dots. */
  static String flat(String module) {
    return module.replace('.', '_');
  }

  /**
   * A U-Net's layer in kohya's files; diffusers knows SDXL's embedding by its original name only.
   */
  static String kohya(String module) {
    return "lora_unet_" + flat(module.startsWith("add_embedding.") ? original(module, 2) : module);
  }

  /** The matrices and convolutions of a model part, by their flat names, old and new. */
  static Map<String, Parameter> targets(Module part) {
    Map<String, Parameter> targets = new LinkedHashMap<>();
    Map<String, Parameter> all = part.namedParameters();
    long perLevel = all.keySet().stream().filter(LoraNames::isFirstLevelResnet).count();
    all.forEach(
        (name, parameter) -> {
          if (name.endsWith(WEIGHT) && parameter.shape().length >= 2) {
            String module = name.substring(0, name.length() - WEIGHT.length());
            targets.put(flat(module.replaceFirst("^text_model\\.", "")), parameter);
            String original = flat(original(module, (int) perLevel));
            for (String index :
                List.of("1", "2")) { // an upsampler comes behind an attention, if any
              targets.putIfAbsent(original.replace(UPSAMPLER, index), parameter);
            }
          }
        });
    return targets;
  }

  private static boolean isFirstLevelResnet(String name) {
    return name.matches("down_blocks\\.0\\.resnets\\.\\d+\\.conv1\\.weight");
  }

  private static final Pattern BLOCK =
      Pattern.compile("(down|up)_blocks\\.(\\d+)\\.(resnets|attentions|\\w+samplers)\\.(\\d+)(.*)");

  /**
   * The original code's name of a U-Net's module, without its prefix: blocks counted through
   * (CompVis/stable-diffusion, openaimodel.py). {@code perLevel} resnets a level on the way down.
   */
  static String original(String module, int perLevel) {
    Matcher block = BLOCK.matcher(module);
    if (!block.matches()) {
      return inner(
          module
              .replace("conv_in", "input_blocks.0.0")
              .replace("conv_out", "out.2")
              .replace("time_embedding.linear_1", "time_embed.0")
              .replace("time_embedding.linear_2", "time_embed.2")
              .replace("add_embedding.linear_1", "label_emb.0.0")
              .replace("add_embedding.linear_2", "label_emb.0.2")
              .replace("mid_block.resnets.0", "middle_block.0")
              .replace("mid_block.attentions.0", "middle_block.1")
              .replace("mid_block.resnets.1", "middle_block.2"));
    }
    boolean down = block.group(1).equals("down");
    int level = Integer.parseInt(block.group(2));
    int index = Integer.parseInt(block.group(4));
    String rest = block.group(5);
    return switch (block.group(3)) {
      case "downsamplers" -> block(true, level, perLevel, perLevel) + ".0.op";
      case "upsamplers" -> block(false, level, perLevel, perLevel) + "." + UPSAMPLER + ".conv";
      case "resnets" -> block(down, level, index, perLevel) + ".0" + inner(rest);
      default -> block(down, level, index, perLevel) + ".1" + rest;
    };
  }

  private static String block(boolean down, int level, int index, int perLevel) {
    return down
        ? "input_blocks." + (1 + level * (perLevel + 1) + index)
        : "output_blocks." + (level * (perLevel + 1) + index);
  }

  private static String inner(String module) {
    return module
        .replaceFirst("\\.conv1$", ".in_layers.2")
        .replaceFirst("\\.conv2$", ".out_layers.3")
        .replaceFirst("\\.time_emb_proj$", ".emb_layers.1")
        .replaceFirst("\\.conv_shortcut$", ".skip_connection");
  }

  /** Up to twenty names. */
  static String list(Collection<String> names) {
    String text = String.join(", ", names.stream().limit(LISTED).toList());
    return names.size() <= LISTED ? text : text + " and " + (names.size() - LISTED) + " more";
  }
}
