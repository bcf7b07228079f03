package org.perflow.io;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;

/**
 * The stack machine of Python's pickles (opcodes as in CPython's {@code Lib/pickletools.py}), which
 * runs nothing: what a pickle wants to call is asked of a {@link Builder}. Gives null, Boolean,
 * Long, Double, String, byte[], List (also for tuples and sets), Map (of the entries whose key is a
 * string) and what the builder makes. One thread.
 */
final class Pickle {
  /** The most that one pickle may make, so that a small file cannot fill the memory. */
  static final int MAX_OBJECTS = 5_000_000;

  private static final Object MARK = new Object();

  private final ByteBuffer in;
  private final Builder builder;
  private final Deque<Object> stack = new ArrayDeque<>();
  private final Map<Integer, Object> memo = new HashMap<>();
  private long made;

  /** A class or function of Python, by name. */
  record Global(String module, String name) {
    @Override
    public String toString() {
      return module + "." + name;
    }
  }

  /**
   * Stands in for an object of a class that is not read.
   *
   * @param type what was called to make it
   * @param parts its attributes and, of a kind of dictionary, its entries
   */
  record Foreign(Object type, Map<String, Object> parts) {
    Foreign(Object type) {
      this(type, new LinkedHashMap<>());
    }

    @Override
    public String toString() { // of the parts, an object may be one itself
      return "an object of " + (type instanceof Global ? type : "a nameless type");
    }
  }

  /** Python's None, as a deque holds no null. */
  private enum None {
    NONE
  }

  /** What a pickle may make beyond plain data. */
  interface Builder {
    /** Whether a pickle may name {@code global} at all. */
    boolean allows(Global global);

    /** The result of {@code global(*arguments)}; a {@link Foreign} where it is of no interest. */
    Object call(Global global, List<?> arguments) throws FormatException;

    /** The object that a persistent id stands for. */
    Object persistent(@Nullable Object id) throws FormatException;
  }

  private Pickle(ByteBuffer in, Builder builder) {
    this.in = in.order(ByteOrder.LITTLE_ENDIAN);
    this.builder = builder;
  }

  /**
   * Reads one pickle from the position of {@code in}, which then stands behind it.
   *
   * @throws FormatException naming a global that is not allowed, or where the pickle is damaged
   */
  static @Nullable Object read(ByteBuffer in, Builder builder) throws FormatException {
    try {
      return unwrap(new Pickle(in, builder).run());
    } catch (BufferUnderflowException e) {
      throw new FormatException("the pickle ends too early: copy or download the file again", e);
    } catch (ClassCastException
        | NoSuchElementException
        | NumberFormatException
        | IndexOutOfBoundsException e) {
      throw new FormatException("the pickle is damaged near byte " + in.position(), e);
    }
  }

  private static @Nullable Object unwrap(Object value) {
    return value == None.NONE ? null : value;
  }

  private Object run() throws FormatException {
    while (true) {
      int code = in.get() & 0xff;
      if (code == '.') {
        return stack.pop();
      }
      count(1); // no opcode makes more but by what it copies
      if (!number(code) && !text(code) && !container(code) && !memo(code) && !object(code)) {
        throw new FormatException(
            "the pickle uses opcode 0x%02x at byte %d, which is not read"
                .formatted(code, in.position() - 1));
      }
    }
  }

  /** Copies count too: a list that is made once can be copied by every opcode. */
  private void count(long objects) throws FormatException {
    made += objects;
    if (made > MAX_OBJECTS) {
      throw new FormatException(
          "the pickle is damaged, or made to fill the memory: it has over %,d objects"
              .formatted(MAX_OBJECTS));
    }
  }

  // ---------------------------------------------------------------- plain data

  private boolean number(int code) throws FormatException {
    switch (code) {
      case 0x80 -> in.get(); // protocol
      case 0x95 -> in.getLong(); // frame
      case 'N' -> stack.push(None.NONE);
      case 0x88 -> stack.push(true);
      case 0x89 -> stack.push(false);
      case 'J' -> stack.push((long) in.getInt());
      case 'K' -> stack.push((long) (in.get() & 0xff));
      case 'M' -> stack.push((long) (in.getShort() & 0xffff));
      case 'I' -> stack.push(decimal(line()));
      case 'L' -> stack.push(whole(line().replace("L", "")));
      case 'F' -> stack.push(Double.parseDouble(line()));
      case 0x8a -> stack.push(integer(in.get() & 0xff));
      case 0x8b -> stack.push(integer(in.getInt()));
      case 'G' -> stack.push(Double.longBitsToDouble(Long.reverseBytes(in.getLong())));
      default -> {
        return false;
      }
    }
    return true;
  }

  /** Protocol 1 writes truth as numbers of two digits. */
  private static Object decimal(String digits) {
    return digits.equals("00") || digits.equals("01")
        ? digits.equals("01")
        : (Object) whole(digits);
  }

  /** What does not fit becomes plain 0: no size is that large. */
  private static long whole(String digits) {
    return digits.length() > 18 ? 0 : Long.parseLong(digits);
  }

  /** Little-endian two's complement; what does not fit becomes 0 as well. */
  private long integer(int length) throws FormatException {
    byte[] bytes = bytes(length);
    if (length > Long.BYTES) {
      return 0;
    }
    long value = length > 0 && bytes[length - 1] < 0 ? -1 : 0;
    for (int i = length - 1; i >= 0; i--) {
      value = value << 8 | (bytes[i] & 0xff);
    }
    return value;
  }

  private boolean text(int code) throws FormatException {
    switch (code) {
      case 'X' -> stack.push(text(in.getInt(), StandardCharsets.UTF_8));
      case 0x8c -> stack.push(text(in.get() & 0xff, StandardCharsets.UTF_8));
      case 0x8d -> stack.push(text(in.getLong(), StandardCharsets.UTF_8));
      case 'T' -> stack.push(text(in.getInt(), StandardCharsets.ISO_8859_1)); // Python 2
      case 'U' -> stack.push(text(in.get() & 0xff, StandardCharsets.ISO_8859_1));
      case 'S' -> stack.push(line().replaceAll("^(['\"])(.*)\\1$", "$2"));
      case 'V' -> stack.push(line());
      case 'B' -> stack.push(bytes(in.getInt()));
      case 'C' -> stack.push(bytes(in.get() & 0xff));
      case 0x8e, 0x96 -> stack.push(bytes(in.getLong()));
      default -> {
        return false;
      }
    }
    return true;
  }

  private String text(long length, Charset charset) throws FormatException {
    return new String(bytes(length), charset);
  }

  private byte[] bytes(long length) throws FormatException {
    if (length < 0 || length > in.remaining()) {
      throw new FormatException(
          "the pickle announces %s bytes, but only %d are left: it is damaged"
              .formatted(Long.toUnsignedString(length), in.remaining()));
    }
    byte[] bytes = new byte[(int) length];
    in.get(bytes);
    return bytes;
  }

  private String line() {
    StringBuilder text = new StringBuilder();
    for (char c = (char) (in.get() & 0xff); c != '\n'; c = (char) (in.get() & 0xff)) {
      text.append(c);
    }
    return text.toString();
  }

  // ---------------------------------------------------------------- containers

  private boolean container(int code) throws FormatException {
    switch (code) {
      case '(' -> stack.push(MARK);
      case ')', ']', 0x8f -> stack.push(new ArrayList<>());
      case '}' -> stack.push(new LinkedHashMap<>());
      case 0x85 -> stack.push(top(1));
      case 0x86 -> stack.push(top(2));
      case 0x87 -> stack.push(top(3));
      case 't', 'l', 0x91 -> stack.push(sinceMark());
      case 'd' -> {
        Map<String, Object> map = new LinkedHashMap<>();
        put(map, sinceMark());
        stack.push(map);
      }
      case 'a' -> append(top(1));
      case 'e', 0x90 -> append(sinceMark());
      case 's' -> {
        List<Object> pair = top(2);
        put(map(), pair);
      }
      case 'u' -> {
        List<Object> pairs = sinceMark();
        put(map(), pairs);
      }
      case '0' -> stack.pop();
      case '1' -> sinceMark();
      case '2' -> stack.push(stack.element());
      default -> {
        return false;
      }
    }
    return true;
  }

  private boolean memo(int code) {
    switch (code) {
      case 'q' -> memo.put(in.get() & 0xff, stack.element());
      case 'r' -> memo.put(in.getInt(), stack.element());
      case 'p' -> memo.put(Integer.parseInt(line()), stack.element());
      case 0x94 -> memo.put(memo.size(), stack.element());
      case 'h' -> stack.push(recall(in.get() & 0xff));
      case 'j' -> stack.push(recall(in.getInt()));
      case 'g' -> stack.push(recall(Integer.parseInt(line())));
      default -> {
        return false;
      }
    }
    return true;
  }

  private Object recall(int index) {
    Object value = memo.get(index);
    if (value == null) {
      throw new NoSuchElementException("memo " + index);
    }
    return value;
  }

  private List<Object> top(int count) {
    List<Object> items = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      items.add(stack.pop());
    }
    Collections.reverse(items);
    return items;
  }

  private List<Object> sinceMark() {
    List<Object> items = new ArrayList<>();
    for (Object item = stack.pop(); item != MARK; item = stack.pop()) {
      items.add(item);
    }
    Collections.reverse(items);
    return items;
  }

  @SuppressWarnings("unchecked") // only this class makes lists
  private void append(List<Object> items) {
    if (!(stack.element() instanceof Foreign)) { // of a class that is some kind of list
      ((List<Object>) stack.element()).addAll(items);
    }
  }

  @SuppressWarnings("unchecked") // only this class makes maps
  private Map<String, Object> map() {
    return stack.element() instanceof Foreign foreign
        ? foreign.parts()
        : (Map<String, Object>) stack.element();
  }

  private static void put(Map<String, Object> map, List<Object> pairs) {
    for (int i = 0; i + 1 < pairs.size(); i += 2) {
      if (pairs.get(i) instanceof String key) { // optimisers count from 0: not for us
        map.put(key, pairs.get(i + 1));
      }
    }
  }

  // ---------------------------------------------------------------- objects

  private boolean object(int code) throws FormatException {
    switch (code) {
      case 'c' -> stack.push(global(line(), line()));
      case 0x93 -> {
        List<Object> names = top(2);
        stack.push(global((String) names.get(0), (String) names.get(1)));
      }
      case 'Q' -> stack.push(builder.persistent(unwrap(stack.pop())));
      case 'P' -> stack.push(builder.persistent(line()));
      case 'R', 0x81 -> {
        List<Object> call = top(2);
        stack.push(call(call.get(0), (List<?>) call.get(1)));
      }
      case 0x92 -> { // with arguments by name, which torch does not use
        List<Object> call = top(3);
        stack.push(call(call.get(0), (List<?>) call.get(1)));
      }
      case 'i' -> {
        Global global = global(line(), line());
        stack.push(call(global, sinceMark()));
      }
      case 'o' -> {
        List<Object> call = sinceMark();
        stack.push(call(call.remove(0), call));
      }
      case 'b' -> build(stack.pop());
      default -> {
        return false;
      }
    }
    return true;
  }

  private Object call(Object callee, List<?> arguments) throws FormatException {
    count(arguments.size());
    for (Object argument : arguments) {
      count(argument instanceof List<?> list ? list.size() : 0);
    }
    if (callee instanceof Foreign) {
      return new Foreign(callee);
    }
    return builder.call((Global) callee, arguments.stream().map(Pickle::plain).toList());
  }

  /** Streams hold no null: the builder sees None as an empty list, as no argument of ours is. */
  private static Object plain(Object value) {
    return value == None.NONE ? List.of() : value;
  }

  /** Attributes: a dictionary, or a pair with those of slots; a state dict's are not for us. */
  private void build(Object state) throws FormatException {
    if (!(stack.element() instanceof Foreign foreign)) {
      return;
    }
    for (Object attributes : state instanceof List<?> pair ? pair : List.of(state)) {
      if (attributes instanceof Map<?, ?> map) {
        count(map.size());
        map.forEach((name, value) -> foreign.parts().put((String) name, value));
      }
    }
  }

  private Global global(String module, String name) throws FormatException {
    Global global = new Global(module, name);
    if (!builder.allows(global)) {
      throw new FormatException(
          "its pickle asks for %s, which weights have no use for, so it may be made to run code; nothing of it was run: do not load it elsewhere, ask for the safetensors version"
              .formatted(global));
    }
    return global;
  }
}
