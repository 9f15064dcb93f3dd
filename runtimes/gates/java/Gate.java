package crankcase;

import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.StringWriter;
import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.ProtectionDomain;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * The gate of Java: an agent of the JVM, which warms a compiler, waits, compiles the program as javac would, and leaves
 * the rest to the JVM's own launcher.
 *
 * <p>The launcher asks {@code Class.forName} for the main class, in Java. There, and nowhere else, its code is changed to
 * ask {@link GateHook}, which does not return before the program is compiled. So the program runs as if by
 * {@code java Main}: same thread, same class loader, nothing of ours on the stack.
 *
 * <p>Compiler and waiting have a thread of their own, because identity hash codes are counted by thread.
 */
public final class Gate {
    private static final int GATE_FD = 63;
    /** Main class, then the sources, a line each. */
    private static final Path ORDER = Path.of(".crankcase-java");
    private static final String CLASS_PATH = "classes:.";
    private static final int DIAGNOSTICS_BYTES_MAX = 60_000;
    private static final List<String> OPTIONS = List.of("-proc:none");
    private static final int WARM_UPS = 3;

    private static final JavaCompiler COMPILER = ToolProvider.getSystemJavaCompiler();

    private Gate() {}

    public static void premain(String arguments, Instrumentation jvm) {
        onOwnThread(() -> {
            install(jvm);
            return null;
        });
    }

    private static void install(Instrumentation jvm) throws Exception {
        Module base = Object.class.getModule();
        Map<String, Set<Module>> opens = Map.of("sun.launcher", Set.of(Gate.class.getModule()));
        jvm.redefineModule(base, Set.of(), Map.of(), opens, Set.of(), Map.of());
        ClassFileTransformer transformer = new LauncherTransformer();
        jvm.addTransformer(transformer);
        Class<?> launcher = Class.forName("sun.launcher.LauncherHelper", false, null);
        jvm.removeTransformer(transformer);
        byte[] hook = Gate.class.getResourceAsStream("GateHook.class").readAllBytes();
        Class<?> hooked = MethodHandles.privateLookupIn(launcher, MethodHandles.lookup())
            .defineClass(ClassFile.renamed(hook, "crankcase/GateHook", "sun/launcher/GateHook"));
        Method descriptor = hooked.getDeclaredMethod("descriptor", int.class);
        descriptor.setAccessible(true);
        FileDescriptor gate = (FileDescriptor) descriptor.invoke(null, GATE_FD);
        set(hooked, "classPath", CLASS_PATH);
        set(hooked, "gate", (Supplier<String>) () -> onOwnThread(() -> pass(gate)));
        System.setProperty("java.class.path", CLASS_PATH);
    }

    private static void set(Class<?> type, String name, Object value) throws ReflectiveOperationException {
        Field field = type.getDeclaredField(name);
        field.setAccessible(true);
        field.set(null, value);
    }

    private static String onOwnThread(Callable<String> work) {
        String[] result = new String[1];
        Thread thread = new Thread(() -> {
            try {
                result[0] = work.call();
            } catch (Throwable failure) {
                Runtime.getRuntime().halt(70);
            }
        }, "gate");
        thread.start();
        while (true) {
            try {
                thread.join();
                return result[0];
            } catch (InterruptedException again) {
                continue;
            }
        }
    }

    /** Warms up, waits, compiles; the name of the main class. */
    private static String pass(FileDescriptor descriptor) throws Exception {
        StandardJavaFileManager files = COMPILER.getStandardFileManager(null, null, StandardCharsets.UTF_8);
        for (int round = 0; round < WARM_UPS; round++) {
            Memory memory = new Memory(files);
            List<Text> source = List.of(new Text("Warm", WarmSource.TEXT));
            if (!COMPILER.getTask(new StringWriter(), memory, null, OPTIONS, null, source).call()) {
                throw new IllegalStateException();
            }
            new Loader(memory.classes).loadClass("Warm").getMethod("main", String[].class).invoke(null, (Object) new String[0]);
        }
        System.gc();

        FileOutputStream toSpawner = new FileOutputStream(descriptor);
        FileInputStream fromSpawner = new FileInputStream(descriptor);
        toSpawner.write('R');
        int message = fromSpawner.read();
        if (message != 'G') {
            Runtime.getRuntime().halt(message == -1 ? 0 : 70);
        }
        List<String> order = Files.readAllLines(ORDER);
        Files.delete(ORDER);

        Memory memory = new Memory(files);
        StringWriter diagnostics = new StringWriter();
        Iterable<? extends JavaFileObject> sources =
            files.getJavaFileObjectsFromStrings(order.subList(1, order.size()));
        boolean compiled = COMPILER.getTask(diagnostics, memory, null, OPTIONS, null, sources).call();
        toSpawner.write(report(compiled ? 0 : 1, diagnostics.toString()));
        if (!compiled) {
            Runtime.getRuntime().halt(1);
        }
        memory.write(Path.of("classes"));
        toSpawner.close();
        System.setProperty("sun.java.command", order.get(0));
        return order.get(0);
    }

    private static byte[] report(int exitCode, String diagnostics) {
        byte[] text = diagnostics.getBytes(StandardCharsets.UTF_8);
        int length = Math.min(text.length, DIAGNOSTICS_BYTES_MAX);
        return ByteBuffer.allocate(2 + length).put((byte) 'C').put((byte) exitCode).put(text, 0, length).array();
    }

    /** {@code java Gate.java SOURCE JAR} makes the agent; the source is this file. */
    public static void main(String[] arguments) throws Exception {
        StandardJavaFileManager files = COMPILER.getStandardFileManager(null, null, StandardCharsets.UTF_8);
        Memory memory = new Memory(files);
        if (!COMPILER.getTask(null, memory, null, OPTIONS, null, files.getJavaFileObjects(arguments[0])).call()) {
            System.exit(1);
        }
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
        manifest.getMainAttributes().putValue("Premain-Class", "crankcase.Gate");
        try (JarOutputStream jar = new JarOutputStream(Files.newOutputStream(Path.of(arguments[1])), manifest)) {
            for (Map.Entry<String, ByteArrayOutputStream> entry : memory.classes.entrySet()) {
                jar.putNextEntry(new JarEntry(entry.getKey().replace('.', '/') + ".class"));
                jar.write(entry.getValue().toByteArray());
            }
        }
    }

    /** Keeps what the compiler writes. */
    private static final class Memory extends ForwardingJavaFileManager<StandardJavaFileManager> {
        private final Map<String, ByteArrayOutputStream> classes = new LinkedHashMap<>();

        Memory(StandardJavaFileManager files) {
            super(files);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location at, String name, JavaFileObject.Kind kind, FileObject sibling) {
            return new SimpleJavaFileObject(URI.create("memory:///" + name.replace('.', '/') + kind.extension), kind) {
                @Override
                public OutputStream openOutputStream() {
                    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
                    classes.put(name, bytes);
                    return bytes;
                }
            };
        }

        @Override
        public void close() {
            // The file manager below serves the next compilation as well.
        }

        void write(Path directory) throws IOException {
            Files.createDirectories(directory);
            for (Map.Entry<String, ByteArrayOutputStream> entry : classes.entrySet()) {
                Path file = directory.resolve(entry.getKey().replace('.', '/') + ".class");
                Files.createDirectories(file.getParent());
                Files.write(file, entry.getValue().toByteArray());
            }
        }
    }

    /** A source that is no file. */
    private static final class Text extends SimpleJavaFileObject {
        private final String text;

        Text(String name, String text) {
            super(URI.create("memory:///" + name + ".java"), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }

    /** For the program that warms up. */
    private static final class Loader extends ClassLoader {
        private final Map<String, ByteArrayOutputStream> classes;

        Loader(Map<String, ByteArrayOutputStream> classes) {
            super(getPlatformClassLoader());
            this.classes = classes;
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            ByteArrayOutputStream bytes = classes.get(name);
            if (bytes == null) {
                throw new ClassNotFoundException(name);
            }
            return defineClass(name, bytes.toByteArray(), 0, bytes.size());
        }
    }

    /** Makes the launcher ask the hook for the main class. */
    private static final class LauncherTransformer implements ClassFileTransformer {
        @Override
        public byte[] transform(ClassLoader loader, String name, Class<?> old, ProtectionDomain domain, byte[] content) {
            return "sun/launcher/LauncherHelper".equals(name) ? ClassFile.hooked(content) : null;
        }
    }

    /** As much of the class file format as is needed (JVMS 4.4): the constant pool. */
    private static final class ClassFile {
        private static final int UTF8 = 1;
        private static final int CLASS = 7;
        private static final int METHOD = 10;
        private static final int NAME_AND_TYPE = 12;

        private final byte[] bytes;
        /** Where the entries' tags are, by index; 0 for none. */
        private final int[] entries;
        private final int end;

        private ClassFile(byte[] bytes) {
            this.bytes = bytes;
            entries = new int[u2(8)];
            int at = 10;
            for (int index = 1; index < entries.length; index++) {
                entries[index] = at;
                switch (bytes[at]) {
                    case UTF8: at += 3 + u2(at + 1); break;
                    case 15: at += 4; break;
                    case CLASS: case 8: case 16: case 19: case 20: at += 3; break;
                    case 5: case 6: at += 9; index++; break;
                    default: at += 5;
                }
            }
            end = at;
        }

        private int u2(int at) {
            return (bytes[at] & 0xff) << 8 | bytes[at + 1] & 0xff;
        }

        private String utf8(int index) {
            return new String(bytes, entries[index] + 3, u2(entries[index] + 1), StandardCharsets.UTF_8);
        }

        /** The class with one name in its constants replaced. */
        static byte[] renamed(byte[] content, String from, String to) {
            ClassFile file = new ClassFile(content);
            for (int index = 1; index < file.entries.length; index++) {
                int at = file.entries[index];
                if (at > 0 && content[at] == UTF8 && file.utf8(index).equals(from)) {
                    ByteArrayOutputStream out = new ByteArrayOutputStream();
                    out.write(content, 0, at);
                    out.writeBytes(utf8Entry(to));
                    int next = at + 3 + from.length();
                    out.write(content, next, content.length - next);
                    return out.toByteArray();
                }
            }
            throw new IllegalArgumentException(from);
        }

        /** The class with each call of {@code Class.forName(String, boolean, ClassLoader)} going to the hook. */
        static byte[] hooked(byte[] content) {
            ClassFile file = new ClassFile(content);
            byte[] patched = content.clone();
            int hook = file.entries.length + 1;
            for (int index = 1; index < file.entries.length; index++) {
                int at = file.entries[index];
                if (at > 0 && content[at] == METHOD && file.isForName(at)) {
                    patched[at + 1] = (byte) (hook >> 8);
                    patched[at + 2] = (byte) hook;
                }
            }
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            out.write(patched, 0, 8);
            out.write(hook + 1 >> 8);
            out.write(hook + 1);
            out.write(patched, 10, file.end - 10);
            out.writeBytes(utf8Entry("sun/launcher/GateHook"));
            out.writeBytes(new byte[] {CLASS, (byte) (hook - 1 >> 8), (byte) (hook - 1)});
            out.write(patched, file.end, patched.length - file.end);
            return out.toByteArray();
        }

        private boolean isForName(int at) {
            int type = entries[u2(at + 3)];
            return utf8(u2(entries[u2(at + 1)] + 1)).equals("java/lang/Class")
                && utf8(u2(type + 1)).equals("forName")
                && utf8(u2(type + 3)).equals("(Ljava/lang/String;ZLjava/lang/ClassLoader;)Ljava/lang/Class;");
        }

        private static byte[] utf8Entry(String text) {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            return ByteBuffer.allocate(3 + bytes.length).put((byte) UTF8).putShort((short) bytes.length).put(bytes).array();
        }
    }

    /** What most programs use. It is compiled and run, and prints nothing. */
    private static final class WarmSource {
        static final String TEXT = String.join("\n",
            "import java.io.*; import java.util.*; import java.util.function.*; import java.util.stream.*;",
            "public class Warm {",
            "  interface Shape { double area(); }",
            "  static abstract class Base implements Shape { final String name; Base(String name) { this.name = name; }",
            "    @Override public String toString() { return name + \": \" + area(); } }",
            "  static class Circle extends Base { private final double r; Circle(double r) { super(\"c\"); this.r = r; }",
            "    public double area() { return Math.PI * r * r; } }",
            "  enum Color { RED, GREEN; Color next() { return values()[(ordinal() + 1) % values().length]; } }",
            "  static <T extends Comparable<T>> T max(List<T> list) { T best = list.get(0);",
            "    for (T x : list) if (x.compareTo(best) > 0) best = x; return best; }",
            "  static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }",
            "  public static void main(String[] args) throws Exception {",
            "    Map<String, List<Integer>> groups = new TreeMap<>(); Map<String, Integer> counts = new HashMap<>();",
            "    int[][] grid = new int[3][4]; long sum = 0;",
            "    for (int i = 0; i < 3; i++) { for (int j = 0; j < 4; j++) { grid[i][j] = i * j; sum += grid[i][j]; } }",
            "    for (String w : \"a b a\".split(\" \")) { counts.merge(w, 1, Integer::sum);",
            "      groups.computeIfAbsent(w, k -> new ArrayList<>()).add(fib(5)); }",
            "    StringBuilder text = new StringBuilder();",
            "    for (Map.Entry<String, Integer> e : counts.entrySet()) text.append(e.getKey()).append('=').append(e.getValue());",
            "    List<Shape> shapes = List.of(new Circle(1), new Circle(2)); String s = \"v\" + sum + max(Arrays.asList(3, 1));",
            "    s += shapes.stream().filter(x -> x.area() > 1).map(Object::toString).collect(Collectors.joining(\", \"));",
            "    s += IntStream.range(0, 5).map(x -> x * x).sum() + String.format(\"%d %.2f %s\", 1, 2.5, Color.RED.next());",
            "    try { Integer.parseInt(\"x\"); } catch (NumberFormatException e) { s += e.getMessage(); } finally { s += 1; }",
            "    switch (Color.RED) { case RED: s += 1; break; default: s += 2; }",
            "    Scanner in = new Scanner(\"1 two\\n\"); while (in.hasNext()) s += in.next();",
            "    BufferedReader reader = new BufferedReader(new StringReader(\"x\")); String line;",
            "    while ((line = reader.readLine()) != null) s += line;",
            "    Function<Integer, Function<Integer, Integer>> add = a -> b -> a + b; s += add.apply(1).apply(2);",
            "    Optional<String> o = Optional.of(s); o.ifPresent(x -> {}); System.out.print(\"\"); System.out.flush();",
            "  }",
            "}");
    }
}

/** Part of the boot loader's {@code java.base}, where the launcher is. */
final class GateHook {
    static Supplier<String> gate;
    static String classPath;

    private GateHook() {}

    /** In place of {@link Class#forName(String, boolean, ClassLoader)}, for the launcher's first and only question. */
    public static Class<?> forName(String name, boolean initialize, ClassLoader loader) throws ClassNotFoundException {
        Supplier<String> once = gate;
        if (once == null) {
            return Class.forName(name, initialize, loader);
        }
        gate = null;
        String main = once.get();
        renewClassPath(loader);
        return Class.forName(main, initialize, loader);
    }

    static FileDescriptor descriptor(int number) throws ReflectiveOperationException {
        Constructor<FileDescriptor> constructor = FileDescriptor.class.getDeclaredConstructor(int.class);
        constructor.setAccessible(true);
        return constructor.newInstance(number);
    }

    /** What the class loader has found out about the class path is that of an empty directory, and the agent is on it. */
    private static void renewClassPath(ClassLoader loader) {
        try {
            Class<?> type = Class.forName("jdk.internal.loader.URLClassPath");
            Constructor<?> constructor = type.getDeclaredConstructor(String.class, boolean.class);
            constructor.setAccessible(true);
            Object renewed = constructor.newInstance(classPath, false);
            for (Class<?> at = loader.getClass(); at != null; at = at.getSuperclass()) {
                for (Field field : at.getDeclaredFields()) {
                    if (field.getType() == type) {
                        field.setAccessible(true);
                        field.set(loader, renewed);
                    }
                }
            }
        } catch (ReflectiveOperationException unknownVersion) {
            Runtime.getRuntime().halt(70);
        }
    }
}
