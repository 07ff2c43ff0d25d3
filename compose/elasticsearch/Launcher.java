import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/** Runs one node: Launcher MODULES key=value… It stops when its standard input closes, so it never outlives its parent. */
public final class Launcher {
    public static void main(String[] arguments) throws Exception {
        Settings.Builder settings = Settings.builder();
        for (int i = 1; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        Path config = Path.of(settings.get("path.home"), "config");
        Environment environment =
            InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), config, () -> "understudy");
        LogConfigurator.configureESLogging();
        var plugins = PluginsLoader.createPluginsLoader(bundles(Path.of(arguments[0])), Set.of(), Map.of(), false);
        Node node = new Node(environment, plugins);
        node.start();
        while (System.in.read() >= 0) {}
        Thread closing = new Thread(() -> close(node));
        closing.setDaemon(true);
        closing.start();
        closing.join(10_000);
        Runtime.getRuntime().halt(closing.isAlive() ? 1 : 0);
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (java.io.IOException error) {
            System.err.println("closing the node: " + error);
        }
    }

    /** 9.x has a second argument: whether stable plugins are looked for too. */
    @SuppressWarnings("unchecked")
    private static <T> Set<T> bundles(Path modules) throws Exception {
        for (var method : PluginsLoader.class.getMethods()) {
            if (!method.getName().equals("loadModulesBundles")) continue;
            Object[] arguments = method.getParameterCount() == 1 ? new Object[] {modules} : new Object[] {modules, false};
            return (Set<T>) method.invoke(null, arguments);
        }
        throw new IllegalStateException("PluginsLoader.loadModulesBundles is gone");
    }
}
