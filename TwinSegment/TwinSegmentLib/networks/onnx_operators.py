"""The standard operators of ONNX that a network from outside may have: those that compute one tensor from others.

Loops, branches and sequences are not among them, so that a run always ends; nor is what reads a random number.
"""

_NAMES = """
Abs Add And ArgMax AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv
ConvTranspose CumSum DepthToSpace Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements
GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean
MeanVarianceNormalization Min Mish Mod Mul Neg Not Or PRelu Pad Pow Range Reciprocal ReduceL2 ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterND Selu Shape Sigmoid Sign Size
Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile Transpose
Unsqueeze Upsample Where
"""
OPERATORS = frozenset(_NAMES.split())
